"""The page's files: how they are served, and what they may contain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentkit.server.page import FOLDER
from tests.server.conftest import Serve
from tests.server.vendor import changed_files

OWN = sorted(p for p in FOLDER.rglob("*") if p.is_file() and "vendor" not in p.parts)
_IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""")


async def test_the_page_is_served_with_a_policy_that_allows_only_its_own_files(
    serve: Serve,
) -> None:
    async with serve() as client:
        page = await client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("app.js", "text/javascript"),
        ("vendor/marked.js", "text/javascript"),
        ("css/base.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
        ("vendor/fonts/KaTeX_Main-Regular.woff2", "font/woff2"),
    ],
)
async def test_each_kind_of_file_has_the_type_that_browsers_demand(
    serve: Serve, path: str, kind: str
) -> None:
    async with serve() as client:
        response = await client.get(f"/static/{path}")
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == kind


async def test_a_file_that_the_browser_has_is_not_sent_again(serve: Serve) -> None:
    async with serve() as client:
        tag = (await client.get("/static/app.js")).headers["etag"]
        again = await client.get("/static/app.js", headers={"if-none-match": tag})
    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize(
    "path",
    ["none.js", "../page.py", "%2e%2e/page.py", "..%2fpage.py", "vendor", "", "//etc/passwd"],
)
async def test_paths_outside_the_pages_files_are_not_found(serve: Serve, path: str) -> None:
    async with serve() as client:
        response = await client.get(f"/static/{path}")
    assert response.status_code == 404
    assert response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/", "/static/app.js"])
async def test_the_page_needs_a_key_where_the_server_demands_one(serve: Serve, path: str) -> None:
    async with serve(needs_key=True) as client:
        response = await client.get(path)
    assert response.status_code == 401


def test_the_vendored_libraries_are_the_recorded_releases() -> None:
    assert list(changed_files()) == []


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_no_file_of_the_page_names_another_server_or_needs_an_inline_script(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    addresses = set(re.findall(r"""https?://[^\s"'`<)]+""", text)) - {"http://www.w3.org/2000/svg"}
    assert addresses <= {"https://"}
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+=\"|style=\"", text)


@pytest.mark.parametrize(
    "path",
    [p for p in OWN if p.suffix == ".js"],
    ids=lambda path: path.relative_to(FOLDER).as_posix(),
)
def test_every_import_is_a_file_of_the_page(path: Path) -> None:
    for name in _IMPORT.findall(path.read_text(encoding="utf-8")):
        assert name.startswith("."), name
        assert (path.parent / name).resolve().is_file(), name


def test_index_lists_every_style_sheet() -> None:
    index = (FOLDER / "index.html").read_text(encoding="utf-8")
    for sheet in (FOLDER / "css").glob("*.css"):
        assert f'href="static/css/{sheet.name}"' in index
