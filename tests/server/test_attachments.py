"""Files and images that come with a question: cited, seen by the model, kept, and bounded."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from agentkit import ScriptedModel
from agentkit.backends.base import images
from agentkit.server.keys import KeyStore
from agentkit.settings.schema import ServeSettings
from tests.server.page_client import Json, Page, open_page
from tests.server.test_documents_api import a_pdf

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
NOTE = b"# Rota\n\nThe night shift of the pump house begins at 21:30.\n"
QUESTION = "When does the night shift of the pump house begin?"


def attached(**files: bytes) -> list[Json]:
    """Files by name; a double underscore stands for a dot."""
    return [
        {"name": name.replace("__", "."), "data": base64.b64encode(content).decode()}
        for name, content in files.items()
    ]


async def answer(page: Page, session: str, question: str, **options: Any) -> Json:
    turn = await page.answered(session, question, **options)
    assert turn == (await page.turns(session))[-1]
    return turn


@pytest.mark.parametrize(
    ("name", "content", "page_number"),
    [
        ("rota__md", NOTE, None),
        pytest.param(
            *("rota__pdf", a_pdf(NOTE.decode().split("\n")[2]), 1), marks=pytest.mark.slow
        ),
    ],
)
async def test_a_file_with_a_question_is_cited_and_not_indexed(
    folder: Path, name: str, content: bytes, page_number: int | None
) -> None:
    async with open_page(folder) as page:
        session = await page.session()
        turn = await answer(page, session, QUESTION, attachments=attached(**{name: content}))
        assert "21:30" in turn["text"]
        assert turn["attachments"] == [name.replace("__", ".")]
        cited = turn["citations"][0]
        assert cited["passage"]["source"] == name.replace("__", ".")
        assert cited["page"] == page_number
        documents = (await page.get("/api/documents"))["documents"]
        assert [each["source"] for each in documents] == ["storage.md"]


async def test_an_image_goes_to_the_model_and_is_shown_with_the_question(folder: Path) -> None:
    model = ScriptedModel(["A pump.", "The same pump.", "No image."])
    async with open_page(folder, model) as page:
        session = await page.session()
        files = attached(photo__png=PNG)
        turn = await answer(page, session, "What is this?", attachments=files)
        assert (turn["question"], turn["images"], turn["attachments"]) == ("What is this?", 1, [])
        sent = next(m for m in model.requests[0] if m.role == "user")
        assert [(part.data, part.media_type) for part in images(sent)] == [(PNG, "image/png")]
        path = f"/api/sessions/{session}/turns/0/images/0"
        shown = await page.client.get(path)
        assert shown.content == PNG
        assert shown.headers["content-type"] == "image/png"
        assert shown.headers["content-security-policy"].startswith("sandbox")
        for missing in ("0/images/1", "1/images/0", "0/images/-1"):
            await page.get(f"/api/sessions/{session}/turns/{missing}", 404)
        again = await answer(page, session, "What is it?", replace=0)
        assert (again["images"], again["text"]) == (1, "The same pump.")
        without = await answer(page, session, "And now?", replace=0, attachments=[])
        assert without["images"] == 0


async def test_a_file_stays_with_a_question_that_is_edited(folder: Path) -> None:
    async with open_page(folder) as page:
        session = await page.session()
        first = await answer(page, session, "Hello there", attachments=attached(rota__md=NOTE))
        again = await answer(page, session, QUESTION, replace=first["index"])
        assert again["attachments"] == ["rota.md"]
        assert "21:30" in again["text"]


async def test_the_extractive_model_says_that_it_reads_no_images(folder: Path) -> None:
    async with open_page(folder) as page:
        files = attached(photo__png=PNG)
        turn = await answer(page, await page.session(), "What is this?", attachments=files)
        assert turn["state"] == "failed"
        assert "reads no images: choose another model" in turn["error"]["message"]
        assert turn["images"] == 1


@pytest.mark.parametrize(
    ("files", "status", "message"),
    [
        (attached(data__bin=bytes(range(256))), 415, "of no kind that can be read"),
        (attached(photo__png=NOTE), 415, "not a PNG file"),
        (attached(empty__txt=b" \n"), 422, "has no text"),
        pytest.param(
            *(attached(broken__pdf=b"%PDF-1.7\n"), 422, "broken.pdf"), marks=pytest.mark.slow
        ),
        (attached(long__txt=b"word " * 30_000), 422, "150,000 characters"),
        (attached(**{f"n{number}__md": NOTE for number in range(11)}), 422, "10"),
        ([{"name": "../../.ssh/id", "data": ""}], 415, "of no kind"),
        ([{"name": "a.md", "data": "no base64!"}], 422, "data"),
    ],
)
async def test_a_file_that_cannot_be_used_is_refused_with_the_reason_before_the_session_changes(
    folder: Path, files: list[Json], status: int, message: str
) -> None:
    async with open_page(folder) as page:
        session = await page.session()
        body = {"question": QUESTION, "attachments": files}
        refused = await page.post(f"/api/sessions/{session}/turns", body, status)
        assert message in refused["error"]["message"]
        assert await page.turns(session) == []


async def test_files_are_bounded_by_the_size_of_a_request(folder: Path) -> None:
    async with open_page(folder, settings=ServeSettings(max_body_mb=0.01)) as page:
        body = {"question": QUESTION, "attachments": attached(photo__png=PNG + bytes(20_000))}
        await page.post(f"/api/sessions/{await page.session()}/turns", body, 413)
        assert (await page.get("/api/state"))["limits"]["body_bytes"] == 10_485


async def test_an_image_is_closed_to_other_keys(folder: Path) -> None:
    keys = KeyStore(folder)
    mine, other = keys.add("mine", ["ask"]), keys.add("other", ["ask"])
    model = ScriptedModel(["A pump."])
    async with open_page(folder, model, keys=keys, needs_key=True) as page:
        page.headers = {"authorization": f"Bearer {mine}"}
        session = await page.session()
        await page.answered(session, "What is this?", attachments=attached(photo__png=PNG))
        path = f"/api/sessions/{session}/turns/0/images/0"
        for key, status in ((mine, 200), (other, 404)):
            answer = await page.client.get(path, headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == status
