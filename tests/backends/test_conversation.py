"""Conversations that servers refuse, and what is sent in their place."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from agentkit.backends.conversation import NO_RESULT, valid_conversation
from agentkit.messages import ImagePart, Message, TextPart, ToolCall
from agentkit.settings.profile import Profile

PNG = ImagePart(b"\x89PNG")
STRICT = Profile(
    call_id="[a-zA-Z0-9]{9}", system="first", first_user=True, assistant_after_tool=True
)


def user(text: Any = "hi") -> Message:
    return Message("user", text)


def called(*ids: str, text: str = "") -> Message:
    return Message("assistant", text, tuple(ToolCall(id_, "f", {}) for id_ in ids))


def result(id_: str, content: Any = "r") -> Message:
    return Message("tool", content, tool_call_id=id_)


def shape(messages: list[Message]) -> list[str]:
    return [f"{m.role}:{m.text}" if m.text else m.role for m in messages]


CASES: dict[str, tuple[list[Message], list[str]]] = {
    "a call without a result": (
        [user(), called("a")],
        ["user:hi", "assistant", f"tool:{NO_RESULT}"],
    ),
    "a call without a result, then a question": (
        [user(), called("a"), user("again")],
        ["user:hi", "assistant", f"tool:{NO_RESULT}", "user:again"],
    ),
    "one of two calls without a result": (
        [user(), called("a", "b"), result("b"), user("again")],
        ["user:hi", "assistant", f"tool:{NO_RESULT}", "tool:r", "user:again"],
    ),
    "a result after the next question": (
        [user(), called("a"), user("well?"), result("a")],
        ["user:hi", "assistant", "tool:r", "user:well?"],
    ),
    "results in another order": (
        [user(), called("a", "b"), result("b", "2"), result("a", "1")],
        ["user:hi", "assistant", "tool:1", "tool:2"],
    ),
    "a result without a call": (
        [result("a"), user()],
        ["user:Result of an earlier tool call:\nr\n\nhi"],
    ),
    "an empty result without a call": ([result("a", ""), user()], ["user:hi"]),
    "a result twice": (
        [user(), called("a"), result("a", "1"), result("a", "2"), user("go on")],
        ["user:hi", "assistant", "tool:1", "user:Result of an earlier tool call:\n2\n\ngo on"],
    ),
    "an empty result": ([user(), called("a"), result("a", "")],
                        ["user:hi", "assistant", "tool:(No output.)"]),
    "an empty answer": ([user(), Message("assistant", " \n"), user("well?")],
                        ["user:hi\n\nwell?"]),
    "two questions": ([user("a"), user("b")], ["user:a\n\nb"]),
    "two answers": ([user(), Message("assistant", "a"), Message("assistant", "b")],
                    ["user:hi", "assistant:a\n\nb"]),
    "an answer before its calls": (
        [user(), Message("assistant", "I look."), called("a"), result("a")],
        ["user:hi", "assistant:I look.", "tool:r"],
    ),
    "two system messages": (
        [Message("system", "a"), Message("system", "b"), user()],
        ["system:a\n\nb", "user:hi"],
    ),
    "a note after a result": (
        [user(), called("a"), result("a"), user("Answer now.")],
        ["user:hi", "assistant", "tool:r", "user:Answer now."],
    ),
    "the same id in two turns": (
        [user(), called("a"), result("a", "1"), Message("assistant", "x"), user("b"), called("a"),
         result("a", "2")],
        ["user:hi", "assistant", "tool:1", "assistant:x", "user:b", "assistant", "tool:2"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES)
def test_a_conversation_is_made_valid(given: list[Message], expected: list[str]) -> None:
    found = valid_conversation(given)
    assert shape(found) == expected
    ids = [call.id for message in found for call in message.tool_calls]
    assert len(set(ids)) == len(ids)
    assert [m.tool_call_id for m in found if m.role == "tool"] == ids


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES)
def test_a_strict_server_takes_it_too(given: list[Message], expected: list[str]) -> None:
    found = valid_conversation(given, STRICT)
    roles = [message.role for message in found]
    assert next(role for role in roles if role != "system") == "user"
    assert "system" not in roles[1:]
    assert not {("tool", "user"), ("user", "user"), ("user", "tool")} & set(pairwise(roles))
    ids = [call.id for message in found for call in message.tool_calls]
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", id_) for id_ in ids)
    assert [m.tool_call_id for m in found if m.role == "tool"] == ids
    assert found == valid_conversation(given, STRICT)


@pytest.mark.parametrize("more", [[], [user("and now?")]])
def test_ids_are_mapped_alike_as_a_conversation_grows(more: list[Message]) -> None:
    given = [user(), called("call_PTLP8xhu3uwZk4l3nlnrrJha", "D681PevKs"), *more]
    [first, second] = [c.id for m in valid_conversation(given, STRICT) for c in m.tool_calls]
    assert second == "D681PevKs"
    assert first == valid_conversation(given[:2], STRICT)[1].tool_calls[0].id


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (PNG, "(An image, which follows.)"),
        ((TextPart("the screen"), PNG), "the screen\n(An image, which follows.)"),
        ((PNG, PNG), "(An image, which follows.)"),
    ],
)
def test_images_of_tools_follow_all_results_of_the_turn(content: Any, text: str) -> None:
    parts = content if isinstance(content, tuple) else (content,)
    found = valid_conversation([user(), called("a", "b"), result("a", parts), result("b")])
    assert shape(found)[2:4] == [f"tool:{text}", "tool:r"]
    assert found[4].role == "user"
    assert list(found[4].content).count(PNG) == parts.count(PNG)


def test_images_of_two_turns_stand_each_in_its_place() -> None:
    turn = [called("a"), result("a", (PNG,)), Message("assistant", "seen")]
    found = valid_conversation([user(), *turn, user("again"), *turn])
    holds = [any(isinstance(p, ImagePart) for p in m.content) for m in found]
    assert [m.role for m, has in zip(found, holds, strict=True) if has] == ["user", "user"]


def test_a_model_without_images_gets_only_that_of_the_question() -> None:
    given = [user((TextPart("a"), PNG)), called("a"), result("a", (PNG,)), user((PNG,))]
    found = valid_conversation(given, Profile(images="none"))
    holds = [any(isinstance(p, ImagePart) for p in m.content) for m in found]
    assert holds == [False, False, False, True]
    assert "cannot read" in found[0].text
    assert "cannot read" in found[2].text


def test_a_summary_between_stands_in_the_first_system_message() -> None:
    given = [Message("system", "rules"), user(), Message("system", "summary"), called("a")]
    assert shape(valid_conversation(given, STRICT))[:2] == ["system:rules\n\nsummary", "user:hi"]
    none = valid_conversation(given, Profile(system="none"))
    assert shape(none)[0] == "user:rules\n\nsummary\n\nhi"


def test_what_a_provider_wants_back_survives_a_merge() -> None:
    data = {"p": {"reasoning_content": "hm"}}
    signed = Message("assistant", "", (ToolCall("a", "f", {}),), provider_data=data)
    found = valid_conversation([user(), Message("assistant", "I look."), signed, result("a")])
    assert found[1].provider_data == data
