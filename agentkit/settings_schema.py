"""The JSON Schema of agentkit.toml, for editors: types, defaults and what each key does.

An editor that knows `#:schema` (Even Better TOML, taplo) finds it by the file's first line, in the
folder's own .agentkit/, so that nothing is asked of any network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkit.settings import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_FILE = ".agentkit/agentkit.schema.json"
SCHEMA_LINE = f"#:schema ./{SCHEMA_FILE}\n"


def settings_schema() -> dict[str, Any]:
    """What a TOML file of settings may hold. TOML has no null, so no alternative is one."""
    plain: dict[str, Any] = _plain(Settings.model_json_schema())
    return {"$schema": DIALECT, "title": "agentkit.toml"} | plain


def schema_text() -> str:
    return json.dumps(settings_schema(), ensure_ascii=False, indent=2) + "\n"


def write_schema(folder: Path) -> Path:
    """Put the schema where SCHEMA_LINE says that it is, and tell git to leave it alone."""
    path = folder / SCHEMA_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    ignore = path.parent / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    path.write_text(schema_text(), encoding="utf-8")
    return path


def _plain(schema: Any) -> Any:
    """Without generated titles, nulls and line breaks in descriptions."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: value for key, value in schema.items() if not _is_noise(key, value)}
    choices = [each for each in found.pop("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        found |= choices[0]
    elif choices:
        found["anyOf"] = choices
    if isinstance(found.get("description"), str):
        found["description"] = " ".join(found["description"].split())
    return {key: _plain(value) for key, value in found.items()}


def _is_noise(key: str, value: Any) -> bool:
    if key == "default":
        return value is None or isinstance(value, Mapping)
    return key == "title" and isinstance(value, str)
