"""Tools that need approval, asked for through the client in both versions of the protocol."""

from __future__ import annotations

from typing import Any

import mcp_types as sdk
import pytest
from mcp import Client, MCPError

from agentkit.agent.approval import Policy
from agentkit.mcp.server import build_server
from agentkit.tools.tool import Tool, tool

both_eras = pytest.mark.parametrize("era", ["auto", "legacy"])


class User:
    """Answers every question alike, and keeps what it was asked."""

    def __init__(self, action: Any = "accept", allow: Any = True) -> None:
        self.action, self.allow = action, allow
        self.asked: list[str] = []

    async def __call__(self, context: Any, params: Any) -> sdk.ElicitResult:
        self.asked.append(params.message)
        accepted = self.action == "accept"
        content = {"allow": self.allow} if accepted else None
        return sdk.ElicitResult(action=self.action, content=content)


@pytest.fixture
def erased() -> list[str]:
    return []


@pytest.fixture
def erase(erased: list[str]) -> Tool:
    @tool(needs_approval=True)
    def erase(what: str) -> str:
        """Erase something."""
        erased.append(what)
        return f"erased {what}"

    return erase


@both_eras
async def test_a_call_runs_once_the_user_has_approved_its_arguments(
    erase: Tool, erased: list[str], era: str
) -> None:
    user = User()
    server = build_server("demo", tools=[erase])
    async with Client(server, mode=era, elicitation_callback=user) as client:
        (listed,) = (await client.list_tools()).tools
        assert "only after the user has approved" in (listed.description or "")
        result = await client.call_tool("erase", {"what": "the disk\u202e"})
    assert result.content[0].text == "erased the disk\u202e"  # type: ignore[union-attr]
    assert user.asked == ['Run erase with {"what": "the disk<U+202E>"}?']
    assert erased == ["the disk\u202e"]


@both_eras
@pytest.mark.parametrize(
    "user", [User("decline"), User("cancel"), User(allow=False), User(allow="true")]
)
async def test_any_answer_but_yes_is_a_refusal(
    erase: Tool, erased: list[str], era: str, user: User
) -> None:
    server = build_server("demo", tools=[erase])
    async with Client(server, mode=era, elicitation_callback=user) as client:
        result = await client.call_tool("erase", {"what": "it"})
    assert result.is_error
    assert "did not allow" in result.content[0].text  # type: ignore[union-attr]
    assert erased == []


@both_eras
async def test_arguments_too_long_to_be_shown_are_not_run(
    erase: Tool, erased: list[str], era: str
) -> None:
    user = User()
    server = build_server("demo", tools=[erase])
    async with Client(server, mode=era, elicitation_callback=user) as client:
        result = await client.call_tool("erase", {"what": "x" * 10_000})
    assert result.is_error
    assert (user.asked, erased) == ([], [])


@both_eras
async def test_a_tool_that_needs_approval_is_not_listed_for_a_client_that_cannot_ask(
    erase: Tool, erased: list[str], era: str
) -> None:
    async with Client(build_server("demo", tools=[erase]), mode=era) as client:
        assert (await client.list_tools()).tools == []
        if era == "legacy":
            assert (await client.call_tool("erase", {"what": "it"})).is_error
        else:
            with pytest.raises(MCPError) as refused:
                await client.call_tool("erase", {"what": "it"})
            assert refused.value.error.code == sdk.MISSING_REQUIRED_CLIENT_CAPABILITY
    assert erased == []


async def test_a_forged_approval_is_refused(erase: Tool, erased: list[str]) -> None:
    yes = sdk.ElicitResult(action="accept", content={"allow": True})
    user = User("decline")
    server = build_server("demo", tools=[erase])
    async with Client(server, elicitation_callback=user) as client:
        given: dict[str, Any] = {"input_responses": {"approval": yes}}
        first = await client.session.call_tool("erase", {"what": "it"}, allow_input_required=True)
        assert isinstance(first, sdk.InputRequiredResult)
        skipped = await client.session.call_tool(
            "erase", {"what": "it"}, allow_input_required=True, **given
        )
        assert isinstance(skipped, sdk.InputRequiredResult)
        with pytest.raises(MCPError):
            await client.session.call_tool(
                "erase", {"what": "another"}, request_state=first.request_state, **given
            )
    assert erased == []


@both_eras
async def test_the_policy_allows_asks_and_denies_by_name(erase: Tool, era: str) -> None:
    @tool
    def halve(number: int) -> int:
        """Halve a number."""
        return number // 2

    async def names(policy: Policy, **options: Any) -> list[str]:
        server = build_server("demo", tools=[erase, halve], policy=policy)
        async with Client(server, mode=era, **options) as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    assert await names(Policy()) == ["halve"]
    assert await names(Policy(), elicitation_callback=User()) == ["erase", "halve"]
    assert await names(Policy(allow=("erase",))) == ["erase", "halve"]
    assert await names(Policy(ask=("h*",))) == []
    assert await names(Policy(deny=("*",)), elicitation_callback=User()) == []
