"""Conversations through chat templates of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkit.backends.base import Options
from agentkit.backends.huggingface.load import LoadedModel, Source
from agentkit.backends.huggingface.model import call_format, render_prompt
from agentkit.backends.text_tool_calls import CALL, THINK
from agentkit.errors import ModelError
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

pytestmark = pytest.mark.slow

PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
TOOLS = (
    "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}({{ c.function.arguments.city }}){% endfor %}{% endfor %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}" + PLAIN
)
TALK = [
    Message("system", "Be brief."),
    Message("user", "Where?"),
    Message("assistant", "", (ToolCall("c1", "lookup", {"city": "Rome"}),)),
    Message("tool", "sunny", tool_call_id="c1"),
]


@pytest.fixture(scope="module")
def tokenizer(smollm2_folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(smollm2_folder)


def prompt(
    tokenizer: Any, template: str, messages: list[Message], *tools: Tool, **extra: Any
) -> str:
    """The prompt as text, by that template."""
    tokenizer.chat_template = template
    loaded = LoadedModel(Source("hf:x", "x"), tokenizer, None, None)
    made = render_prompt(loaded, messages, tools, Options(extra={"chat_template_kwargs": extra}))
    text: str = tokenizer.decode(made.ids)
    return text


def test_a_template_with_tools_gets_them_as_they_are(tokenizer: Any, lookup: Tool) -> None:
    made = prompt(tokenizer, TOOLS, TALK, lookup)
    assert made == "[lookup]<system>Be brief.<user>Where?<assistant>(Rome)<tool>sunny"


def test_a_template_without_tools_gets_them_in_the_system_message(
    tokenizer: Any, lookup: Tool
) -> None:
    made = prompt(tokenizer, PLAIN, TALK, lookup)
    assert made.startswith("<system>You may call these tools:")
    assert '"name": "lookup"' in made
    assert "Be brief.<user>Where?<assistant><tool_call>" in made
    assert made.endswith("<user><tool_response>\nsunny\n</tool_response>")


def test_a_template_without_system_gets_it_in_the_user_message(tokenizer: Any) -> None:
    assert prompt(tokenizer, NO_SYSTEM, TALK[:2]) == "<user>Be brief.\n\nWhere?"


def test_a_refusal_by_the_template_is_reported(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="refuses this conversation: roles must take turns"):
        prompt(tokenizer, "{{ raise_exception('roles must take turns') }}", TALK)


def test_a_model_without_chat_template_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="no chat template"):
        prompt(tokenizer, "", TALK)


def test_options_of_the_template_reach_it(tokenizer: Any) -> None:
    template = "{{ 'on' if enable_thinking else 'off' }}"
    assert prompt(tokenizer, template, TALK, enable_thinking=True) == "on"


def test_a_prompt_that_opens_a_thought_is_known(tokenizer: Any) -> None:
    tokenizer.chat_template = PLAIN + "<assistant><think>\n"
    loaded = LoadedModel(Source("hf:x", "x"), tokenizer, None, None)
    assert render_prompt(loaded, TALK[:2], (), Options()).opening == THINK


def test_a_constrained_answer_has_no_thought_and_a_forced_call_is_opened(
    tokenizer: Any, lookup: Tool
) -> None:
    tokenizer.chat_template = PLAIN + "<assistant><think>\n"
    loaded = LoadedModel(Source("hf:x", "x"), tokenizer, None, None)
    held = render_prompt(loaded, TALK[1:2], (), Options(schema={}))
    assert tokenizer.decode(held.ids).endswith("<assistant><think>\n</think>\n\n")
    assert held.opening == ""
    forced = render_prompt(loaded, TALK[1:2], [lookup], Options(tool_choice="lookup"))
    assert tokenizer.decode(forced.ids).endswith("</think>\n\n<tool_call>\n")
    assert forced.opening == CALL


@pytest.mark.parametrize(
    ("template", "before", "key"),
    [
        ("{{ tools }}<tool_call>", "<tool_call>\n", "arguments"),
        ("no such thing", "<tool_call>\n", "arguments"),
        ("{{ tools }}[TOOL_CALLS]", "[TOOL_CALLS]", "arguments"),
        ('{{ tools }}{"name": ..., "parameters": ...}<|eot_id|>', "", "parameters"),
        ("{{ tools }}", "", "arguments"),
    ],
)
def test_a_call_has_the_format_of_the_template(template: str, before: str, key: str) -> None:
    form = call_format(template)
    assert (form.before, form.arguments) == (before, key)
