"""Tool descriptions are pinned at approval, and changes are detected."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp_types import Tool, ToolAnnotations

from agentkit.errors import McpError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.pins import Pins, ToolChange
from agentkit.settings.sources import user_folder

CONFIG = ServerConfig("demo", command="demo", args=("serve",))


def served(name: str, description: str = "Reads.", **more: Any) -> Tool:
    return Tool(name=name, description=description, input_schema={"type": "object"}, **more)


def test_a_new_server_is_approved_and_its_pins_are_private(tmp_path: Path) -> None:
    assert Pins(tmp_path).changes(CONFIG, [served("read")]) == ()
    assert Pins(tmp_path).changes(CONFIG, [served("read")]) == ()
    assert (user_folder() / "mcp_pins.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "tool",
    [
        served("read", "Reads, and sends it on."),
        served("read", title="Read it"),
        served("read", annotations=ToolAnnotations(read_only_hint=True)),
        Tool(name="read", description="Reads.", input_schema={"type": "object", "title": "Send"}),
        served("read", "Reads, and more, of it."),
        Tool(name="read", description="Reads.", input_schema={"type": "object", "default": "a,b"}),
    ],
)
def test_any_change_of_a_definition_is_detected(tmp_path: Path, tool: Tool) -> None:
    Pins(tmp_path).changes(CONFIG, [served("read")])
    (change,) = Pins(tmp_path).changes(CONFIG, [tool])
    assert (change.tool, change.before) == ("read", "Reads.")


@pytest.mark.parametrize(
    "fields",
    [
        ({"enum": ["a", "b"]}, {"enum": ["b", "a"]}),
        ({"default": "status,summary"}, {"default": "summary,status"}),
        ({"default": ["a", "b"]}, {"default": ["b", "a"]}),
        (
            {"anyOf": [{"type": "null"}, {"type": "string"}]},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        (
            {"properties": {"default": {"enum": [1, None, "x"]}}},
            {"properties": {"default": {"enum": ["x", 1, None]}}},
        ),
    ],
)
def test_another_order_of_what_a_server_made_of_a_set_is_no_change(
    tmp_path: Path, fields: Any
) -> None:
    first, second = (
        Tool(name="read", input_schema={"type": "object", "properties": {"a": each}})
        for each in fields
    )
    assert Pins(tmp_path).changes(CONFIG, [first]) == ()
    assert Pins(tmp_path).changes(CONFIG, [second]) == ()


def test_a_new_tool_is_a_change_and_a_missing_one_is_not(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    pins.changes(CONFIG, [served("read"), served("list")])
    assert pins.changes(CONFIG, [served("read")]) == ()
    assert pins.changes(CONFIG, [served("send", "Sends.")]) == (ToolChange("send", None, "Sends."),)


def test_new_tools_for_a_client_with_more_features_are_approved_once(tmp_path: Path) -> None:
    pins, all_tools = Pins(tmp_path), [served("read"), served("ask")]
    assert pins.changes(CONFIG, [served("read")], ["roots"]) == ()
    assert pins.changes(CONFIG, all_tools, ["roots", "elicitation"]) == ()
    assert pins.changes(CONFIG, [served("read")], ["roots"]) == ()
    assert pins.changes(CONFIG, all_tools, ["roots", "elicitation"]) == ()
    new = served("send", "Sends.")
    assert pins.changes(CONFIG, [*all_tools, new], ["roots", "elicitation"]) == (
        ToolChange("send", None, "Sends."),
    )


def test_a_changed_tool_is_withheld_from_a_client_with_more_features_too(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    pins.changes(CONFIG, [served("read")], ["roots"])
    (change,) = pins.changes(CONFIG, [served("read", "Sends."), served("ask")], ["elicitation"])
    assert (change.tool, change.before) == ("read", "Reads.")


def test_approved_changes_are_no_longer_reported(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    pins.changes(CONFIG, [served("read")])
    pins.approve(CONFIG, [served("read", "Reads all.")])
    assert pins.changes(CONFIG, [served("read", "Reads all.")]) == ()


def test_another_command_or_another_folder_is_another_server(tmp_path: Path) -> None:
    Pins(tmp_path).changes(CONFIG, [served("read")])
    other = replace(CONFIG, args=("serve", "--all"))
    assert Pins(tmp_path).changes(other, [served("read", "Reads all.")]) == ()
    (tmp_path / "sub").mkdir()
    assert Pins(tmp_path / "sub").changes(CONFIG, [served("read", "Else.")]) == ()


def test_unreadable_pins_are_an_error_and_no_approval(tmp_path: Path) -> None:
    user_folder().mkdir(parents=True)
    (user_folder() / "mcp_pins.json").write_text("{")
    with pytest.raises(McpError, match=r"Cannot read .*mcp_pins\.json"):
        Pins(tmp_path).changes(CONFIG, [served("read")])


def test_no_temporary_files_remain_beside_the_pins(tmp_path: Path) -> None:
    Pins(tmp_path).changes(CONFIG, [served("read")])
    names = [name for name in os.listdir(user_folder()) if not name.endswith(".lock")]
    assert names == ["mcp_pins.json"]
    assert json.loads((user_folder() / "mcp_pins.json").read_text())
