"""Settings of the page: those that may be changed while the server runs, with their schemas.

A change is written to agentkit.toml and counts from the next question on, for everyone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from agentkit.agent.agent import Agent
from agentkit.errors import ConfigError
from agentkit.project.trust import settings_file
from agentkit.server.auth import require
from agentkit.server.errors import ApiError
from agentkit.server.service import Server, Service
from agentkit.settings.dotted_keys import parse_key
from agentkit.settings.schema import settings_schema
from agentkit.tools.repair import without_surrogates

router = APIRouter(
    prefix="/api/settings", tags=["settings"], dependencies=[Depends(require("documents"))]
)


LIVE_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "instructions": ("instructions",),
    "knowledge.results": ("retrieval", "results"),
    "knowledge.retrieve": ("retrieval", "mode"),
    "knowledge.expand": ("retrieval", "expand"),
    "knowledge.strict": ("retrieval", "strict"),
    "knowledge.sources": ("retrieval", "filters", "sources"),
    "limits.turns": ("limits", "turns"),
    "limits.tool_calls": ("limits", "tool_calls"),
    "limits.seconds": ("limits", "seconds"),
}
"""The settings that a running server takes on, and the attributes of the agent that they set."""


class SettingRecord(BaseModel):
    """A setting that may be changed. `schema` is its JSON Schema, with a description."""

    key: str
    value: Any
    about: dict[str, Any] = Field(serialization_alias="schema")


class SettingList(BaseModel):
    settings: list[SettingRecord]


@router.get("")
def get_settings(server: Server) -> SettingList:
    """List the settings that may be changed, with their values and JSON Schemas."""
    return _list(server, LIVE_SETTINGS)


@router.patch("")
async def change_settings(body: dict[str, Any], server: Server) -> SettingList:
    """Change settings by their keys, all of which must be among those that may be changed."""
    if unknown := [key[:80] for key in body if key not in LIVE_SETTINGS]:
        raise ApiError(
            422,
            f"{unknown[0]} cannot be changed here. Choose of: {', '.join(LIVE_SETTINGS)}.",
            "unknown_setting",
            param=unknown[0],
        )
    for key, value in body.items():
        await asyncio.to_thread(_change, server, key, value)
    return _list(server, body)


def _list(server: Service, keys: Iterable[str]) -> SettingList:
    schema = settings_schema()
    return SettingList(
        settings=[
            SettingRecord(key=key, value=_read(server.agent, key), about=_schema_of(schema, key))
            for key in keys
        ]
    )


def _read(agent: Agent, key: str) -> Any:
    value: Any = agent
    for name in LIVE_SETTINGS[key]:
        value = getattr(value, name)
    return value if isinstance(value, (str, int, float, tuple)) else None


def _change(server: Service, key: str, value: Any) -> None:
    """Write a setting and have the agent use it. Raises ApiError and ConfigError."""
    if value is None or isinstance(value, dict):
        raise ApiError(422, f"{key} must have a value.", "invalid_value", param=key)
    try:
        text = json.dumps(without_surrogates(value), ensure_ascii=False).replace("\x7f", "\\u007f")
        checked = settings_file(server.project.path).set(parse_key(key), text)
    except (ConfigError, ValueError) as error:
        raise ApiError(422, str(error), "invalid_value", param=key) from error
    apply_setting(server.agent, key, checked)


def apply_setting(agent: Agent, key: str, value: Any) -> None:
    """Have a running agent use the value of a setting of LIVE_SETTINGS from its next run on."""
    name, *rest = LIVE_SETTINGS[key]
    value = tuple(value) if isinstance(value, list) else value
    setattr(agent, name, _replaced(getattr(agent, name), rest, value))


def _replaced(holder: Any, names: Sequence[str], value: Any) -> Any:
    """A copy of nested dataclasses in which one attribute is replaced."""
    if not names:
        return value
    return replace(holder, **{names[0]: _replaced(getattr(holder, names[0]), names[1:], value)})


def _schema_of(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The JSON Schema of a key in that of all settings."""
    found: dict[str, Any] = dict(schema)
    for name in parse_key(key):
        found = dict(found["properties"][name])
        if reference := found.get("$ref", ""):
            found = dict(schema["$defs"][reference.rpartition("/")[2]])
    return found
