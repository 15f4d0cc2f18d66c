"""Pause a run at a tool call that needs approval, and resume it later.

The session stores the open call on disk, so another process may resume the run.
"""

import asyncio
import tempfile
from pathlib import Path

from agentkit import Agent, ScriptedModel, SessionStore, ToolCall, Verdict, pause, tool


@tool(needs_approval=True)
def transfer(account: str, euros: float) -> str:
    """Transfer money to an account."""
    return f"{euros:.2f} EUR sent to {account}"


async def request(database: Path, model: ScriptedModel) -> None:
    """First process: the run stops at the call and the process may exit."""
    session = SessionStore(database).create("refund")
    agent = Agent(model, [transfer], approve=pause)
    answer = await agent.run("Refund 95 euros to Ada.", session)
    for call in answer.waiting:
        print(answer.stop_reason, call.id, call.name, call.arguments)
    session.close()


async def decide(database: Path, model: ScriptedModel) -> None:
    """Second process: somebody approves with corrected arguments, and the run goes on."""
    session = SessionStore(database).open("refund")
    agent = Agent(model, [transfer], approve=pause)
    decision = Verdict(True, arguments={"account": "ada", "euros": 59.0})
    answer = await agent.resume(session, {call.id: decision for call in session.waiting})
    print(*[message.text for message in answer.messages if message.role != "user"])
    session.close()


async def main() -> None:
    call = ToolCall("call-1", "transfer", {"account": "ada", "euros": 95})
    model = ScriptedModel([call, "59 euros have been refunded."])
    with tempfile.TemporaryDirectory() as folder:
        await request(Path(folder) / "sessions.sqlite", model)
        await decide(Path(folder) / "sessions.sqlite", model)


if __name__ == "__main__":
    asyncio.run(main())
