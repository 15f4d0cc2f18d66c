"""The commands that show the last answer from other sides, and the one that leaves."""

from __future__ import annotations

from rich.text import Text

from agentkit.cli.chat.approvals import exact
from agentkit.cli.chat.conversation import Chat, Leave
from agentkit.cli.chat.record import Called
from agentkit.cli.language import translated
from agentkit.cli.output import answer_as_json, as_json
from agentkit.cli.render import harmless
from agentkit.errors import ConfigError

_SHOWN = 20_000


async def think(chat: Chat, argument: str) -> None:
    """What the model thought last; on and off say whether it is shown as it comes."""
    match argument:
        case "on" | "off":
            chat.thinks = argument == "on"
            on, off = "Thoughts are shown as they come.", "Thoughts are folded."
            chat.say(on if chat.thinks else off)
        case "":
            said = harmless("".join(chat.record.reasoning)).strip()
            none = translated("The model did not think aloud.")
            chat.out.print(Text(said or none, "dim"))
        case _:
            raise ConfigError("/think shows the last thoughts, /think on and /think off the next.")


async def last(chat: Chat, argument: str) -> None:
    """Every call of the last run, whole."""
    for called in chat.record.calls:
        indent = "  " * called.depth
        chat.out.print(Text(f"{indent}{translated(_title(called))}", "bold"))
        chat.out.print(Text(exact(called.call.arguments)))
        chat.out.print(Text(harmless(called.result[:_SHOWN]) + "\n", "dim"))
    if not chat.record.calls:
        chat.say("The last answer called no tool.")


def _title(called: Called) -> str:
    name, seconds = called.call.name, f"{called.seconds:.2f}"
    match called.outcome:
        case "failed":
            return f"{name} failed after {seconds} s"
        case "denied":
            return f"{name} denied after {seconds} s"
    return f"{name} gave after {seconds} s"


async def json_(chat: Chat, argument: str) -> None:
    """The last answer for programs."""
    if chat.last is None:
        raise ConfigError("There is no answer yet: ask something first.")
    written = harmless(as_json(answer_as_json(chat.last)))
    chat.out.print(written, markup=False, soft_wrap=True)


async def trace(chat: Chat, argument: str) -> None:
    """The steps of a run."""
    from agentkit.cli.trace import show as show_trace

    await show_trace(argument or "last", chat.project.path, json=False, out=chat.out)


async def quit_(chat: Chat, argument: str) -> None:
    """Leave."""
    raise Leave
