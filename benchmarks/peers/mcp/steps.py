"""What every MCP client does with a served folder: list, call right and wrong, read, cite.

A driver is a script with a client's own library: it passes three functions to `main`. It runs in an
environment of its own, with nothing but that library and the standard library.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable

Call = Callable[[str, dict], Awaitable[tuple[bool, str]]]
"""Calls a tool; whether it succeeded, and what the client's model would read."""

Read = Callable[[str], Awaitable[str]] | None
"""Reads a resource; None where the client cannot."""

QUOTE = "Cats purr when they are content."
RIGHT = {
    "search_knowledge": ({"query": "Why do cats purr?"}, QUOTE),
    "find_all": ({"text": "cats"}, "times"),
    "outline_document": ({"source": "pets.md"}, "Dogs"),
    "read_document": ({"source": "pets.md", "start": 2, "end": 6}, "Cats"),
    "list_documents": ({}, "pets.md"),
    "ask": ({"question": "Why do cats purr?"}, "Cats purr"),
}
WRONG = {
    "search_knowledge": ({"query": "cats", "k": 0}, "k"),
    "find_all": ({"text": "cats", "source": "pet.md"}, "pets.md"),
    "outline_document": ({"source": "pet.md"}, "pets.md"),
    "read_document": ({"source": "pets.md", "start": 9, "end": 3}, "start"),
    "list_documents": ({"page": 0}, "page"),
    "ask": ({"question": ""}, "question"),
}
NOTED = ("find_all",)
"""Tools whose wrong call is answered with a note instead of an error."""


async def run(tools: list[str], call: Call, read: Read) -> dict:
    """Take every step and report what did not go as expected."""
    faults = [f"not listed: {name}" for name in RIGHT if name not in tools]
    for name, (arguments, words) in RIGHT.items():
        ok, text = await call(name, arguments)
        if not ok or words not in text:
            faults.append(f"{name} {arguments}: {text[:200]}")
    for name, (arguments, words) in WRONG.items():
        ok, text = await call(name, arguments)
        if ok is not (name in NOTED) or words not in text:
            faults.append(f"{name} {arguments}: {text[:200]}")
        if '"properties"' in text:
            faults.append(f"{name} {arguments}: the error contains the schema")
    _, found = await call("search_knowledge", {"query": "Why do cats purr?", "k": 1})
    hit = json.loads(found)["hits"][0]
    by_id = json.loads((await call("read_document", {"source": hit["id"]}))[1])
    if by_id["text"] != hit["text"]:
        faults.append(f"read_document does not read {hit['id']}")
    if read is None:
        text = json.loads((await call("read_document", {"source": hit["uri"]}))[1])["text"]
    else:
        text = await read(hit["uri"])
    if text != hit["text"]:
        faults.append(f"{hit['uri']}: {text[:200]}")
    return {
        "tools": len(tools),
        "calls": 2 * len(RIGHT),
        "resource": "by a tool" if read is None else "read",
        "citation": f"{QUOTE} [{hit['id']}]",
        "faults": faults,
    }


def main(driver: Callable[[list[str]], Awaitable[dict]]) -> None:
    """Run a driver with the server's command, and print its report."""
    print(json.dumps(asyncio.run(driver(sys.argv[1:]))))


def texts(content: list) -> str:
    """The texts of a result's content."""
    return "\n".join(block.text for block in content if hasattr(block, "text"))
