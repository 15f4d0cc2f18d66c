"""The tables of docs/settings.md and the schema beside it, made from the settings themselves.

`python -m tests.settings_page` writes both; a test fails when they are stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentkit.settings.dotted_keys import format_key
from agentkit.settings.schema import Settings, schema_text, settings_schema

DOCS = Path(__file__).parents[1] / "docs"
PAGE, SCHEMA = DOCS / "settings.md", DOCS / "agentkit.schema.json"
MARK = "<!-- Below this line: python -m tests.settings_page -->\n"
_USER_NAMES = {"providers": "NAME", "prices": "MODEL"}


def page() -> str:
    """The whole page: its head as it stands, and the tables anew."""
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    return head + MARK + "".join(f"\n{section}" for section in _sections())


def _sections() -> Iterator[str]:
    schema = settings_schema()
    sections = {name: _section(schema, name) for name in Settings.model_fields}
    plain = {name: schema["properties"][name] for name in sections if not sections[name]}
    yield "## The keys\n\n" + _table(plain, ())
    for name, section in sections.items():
        if section:
            about = " ".join(section["description"].split())
            title = format_key((name, _USER_NAMES[name])) if name in _USER_NAMES else name
            yield f"### [{title}]\n\n{about}\n\n" + _table(
                section["properties"], section.get("required", ())
            )
        if name == "providers":
            profile = schema["$defs"]["Profile"]
            about = " ".join(profile["description"].split())
            yield f"### [providers.NAME.profile]\n\n{about}\n\n" + _table(profile["properties"], ())


def _section(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """What a table holds, {} where a key is not a table."""
    kind = schema["properties"][name]
    reference = (kind.get("additionalProperties") or kind).get("$ref", "")
    found: dict[str, Any] = schema["$defs"].get(reference.rpartition("/")[2], {})
    return found


def _table(keys: dict[str, Any], required: tuple[str, ...]) -> str:
    rows = [
        f"| `{name}` | {_kind(key)} | {_default(key, name in required)} | {_cell(key)} |"
        for name, key in keys.items()
    ]
    return "\n".join(["| key | type | default | what it does |", "|---|---|---|---|", *rows, ""])


def _cell(key: dict[str, Any]) -> str:
    return str(key["description"]).replace("|", "\\|")


def _kind(key: dict[str, Any]) -> str:
    if "$ref" in key:
        return "table"
    if "enum" in key:
        return " or ".join(f"`{each}`" for each in key["enum"])
    if "anyOf" in key:
        return " or ".join(map(_kind, key["anyOf"]))
    if key["type"] == "array":
        return f"list of {_kind(key['items'])}"
    kind = str(key["type"])
    return {"object": "table"}.get(kind, kind) + _bounds(key)


def _bounds(key: dict[str, Any]) -> str:
    low, above, high = (key.get(k) for k in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        return f", {low} to {high}"
    return (
        f", at least {low}" if low is not None else f", above {above}" if above is not None else ""
    )


def _default(key: dict[str, Any], is_required: bool) -> str:
    if is_required:
        return "needed"
    return f"`{json.dumps(key['default'])}`" if "default" in key else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema_text(), encoding="utf-8")
