"""Every program of examples/ runs and prints what it is about."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from agentkit import Agent, ScriptedModel

EXAMPLES = Path(__file__).parents[2] / "examples"
OUTPUT = {
    "approval_and_resume": ["paused call-1", "59.00 EUR sent to ada", "have been refunded"],
    "custom_model_and_embedder": ["Green tea brews at 75 degrees. [1] tea.md > Tea"],
    "langchain_interop": ["Hello from LangChain.", "word_count", "The fans start at 60 degrees."],
    "mcp_client": ["units__convert", "68 degrees."],
    "own_documents": ["Descale the machine every 200 cups.", "[1] coffee.md > Coffee machine"],
    "structured_output": ["product='X200' urgency='high'"],
    "tool_with_dependencies": ["count_orders", "Two are open."],
}
STARTS_PROCESSES = {"mcp_client"}
SERVED = {"fastapi_streaming"}


def test_every_example_is_tested_and_listed() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert names == OUTPUT.keys() | SERVED
    assert all(f"({name}.py)" in listed for name in names)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in STARTS_PROCESSES else [])
        for name in OUTPUT
    ],
)
def test_example_prints_its_result(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    output = capsys.readouterr()
    assert output.err == ""
    assert [part for part in OUTPUT[name] if part not in output.out] == []


async def test_fastapi_endpoint_streams_text_and_ends_with_done() -> None:
    example = SimpleNamespace(**runpy.run_path(str(EXAMPLES / "fastapi_streaming.py")))
    app = example.create_app(Agent(ScriptedModel(["The answer in several pieces."])))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://app") as client:
        response = await client.post("/ask", json={"question": "What?"})
    kinds = [line for line in response.text.splitlines() if line.startswith("event: ")]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert kinds[:2] == ["event: text", "event: text"]
    assert kinds[-1] == "event: done"
