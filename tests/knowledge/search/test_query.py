"""Queries: fillers carry no weight, names and codes do."""

import pytest

from agentkit.knowledge.search.query import analyze


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("LoRA 是什么？", ("lora",)),
        ("什么是 C++？", ("cplusplus",)),
        ("请问量化是什么？", ("量化",)),
        ("目的的确是什么", ("目的", "的的", "的确")),
        ("为什么要做数据并行呢？", ("要做", "做数", "数据", "据并", "并行")),
        ("How do I set a default model?", ("set", "default", "model")),
        ("I want to know what LoRA is", ("lora",)),
        ("What is WHO?", ("who",)),
        ("what does set_model() do", ("set", "model", "setmodel")),
        ("-o service_tier fast", ("o", "servic", "tier", "fast", "serviceti")),
        ("Wie hoch ist der Turm?", ("wie", "hoch", "ist", "der", "turm")),
    ],
)
def test_fillers_carry_no_weight(query: str, terms: tuple[str, ...]) -> None:
    assert analyze(query).terms == terms


@pytest.mark.parametrize(
    "query",
    ["谢谢", "好的，谢谢！", "ok", "Thanks!", "thank you", "Who is it?", "请问", "hello", "是什么"],
)
def test_a_query_of_fillers_alone_asks_nothing(query: str) -> None:
    assert analyze(query).is_filler


@pytest.mark.parametrize("query", ["🙂", "？", "NOT", "status OK", "IT", "ok google", "ลาป่วย", "7"])
def test_what_is_more_than_a_filler_is_searched(query: str) -> None:
    assert not analyze(query).is_filler


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("llm_tool_call 参数有什么用？", {"llm", "tool", "call", "llmtoolcal"}),
        ("v1.2.3 里改了什么", {"1.2.3"}),
        ("raise llm.CancelToolCall in before_call", {"llmcanceltoolcal", "beforecal"}),
        ("How are plugins ordered?", set()),
    ],
)
def test_names_and_codes_are_the_same_in_another_language(query: str, names: set[str]) -> None:
    assert names <= set(analyze(query).names)
    assert names or not analyze(query).names
