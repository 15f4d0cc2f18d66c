"""The table of docs/backends.md, made from the profiles.

`python -m tests.backends_page` writes it; a test fails when it is stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkit.backends.openai.profiles import SERVERS, Server
from agentkit.settings.keys import PRESETS
from agentkit.settings.profile import Profile

PAGE = Path(__file__).parents[1] / "docs" / "backends.md"
MARK = "<!-- Below this line: python -m tests.backends_page -->\n"

_HEAD = (
    *("server", "`PROVIDER:` and hosts", "limit of tokens", "not sent", "tool calls"),
    *("messages", "schemas", "sent back", "by model"),
)
_MESSAGES = {
    "first_user": "a user's first",
    "assistant_after_tool": "an assistant's between result and user",
    "result_name": "results name the tool",
}
_SYSTEM = {"first": "one system message, first", "none": "no system message"}


def page() -> str:
    """The whole page: its head as it stands, and the table anew."""
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    rows = [_HEAD, ["---"] * len(_HEAD), *(_row(name, each) for name, each in SERVERS.items())]
    return head + MARK + "\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(name: str, server: Server) -> list[str]:
    profile = server.profile
    preset = f"`{name}:`" if name in PRESETS and name != "ollama" else f"`{name}` in the name"
    cells = [
        server.title,
        ", ".join([preset, *(f"`{host}`" for host in server.hosts)]),
        "" if profile.max_tokens_field == "max_tokens" else f"`{profile.max_tokens_field}`",
        _not_sent(profile),
        _calls(profile),
        _messages(profile),
        _schemas(profile),
        _sent_back(profile),
        "; ".join(f"`{pattern}`: {_fields(fields)}" for pattern, fields in server.models),
    ]
    return [cell.replace("|", "\\|") for cell in cells]


def _not_sent(profile: Profile) -> str:
    cells = [f"`{field}`" for field in profile.refused]
    if profile.min_temperature:
        cells.append(f"temperatures below {profile.min_temperature:g}")
    return ", ".join(cells)


def _calls(profile: Profile) -> str:
    default = Profile()
    cells = []
    if profile.call_id:
        cells.append(f"ids `{profile.call_id}`")
    if profile.tool_name != default.tool_name:
        cells.append(f"names `{profile.tool_name}`")
    if profile.max_description:
        cells.append(f"descriptions of {profile.max_description} characters")
    if profile.tool_choices != default.tool_choices:
        cells.append(f"choice {', '.join(('auto', *profile.tool_choices))}")
    return "; ".join(cells)


def _messages(profile: Profile) -> str:
    cells = [_SYSTEM[profile.system]] if profile.system != "any" else []
    cells += [text for field, text in _MESSAGES.items() if getattr(profile, field)]
    if profile.images == "none":
        cells.append("no images of tools")
    if profile.empty_content is not None:
        cells.append('`""` in place of null')
    return "; ".join(cells)


def _schemas(profile: Profile) -> str:
    cells = [] if profile.schemas == "full" else [f"tools {profile.schemas}"]
    if profile.response_format != "json_schema":
        cells.append(f"answers `{profile.response_format}`")
    elif not profile.strict:
        cells.append("answers not strict")
    return "; ".join(cells)


def _sent_back(profile: Profile) -> str:
    fields = [*profile.sent_back, *profile.call_fill]
    cells = [f"`{field}`" for field in dict.fromkeys(fields)]
    if profile.message_fill or profile.call_message_fill or profile.call_fill:
        cells.append("filled where missing")
    return ", ".join(cells)


def _fields(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in fields.items())


def _value(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
