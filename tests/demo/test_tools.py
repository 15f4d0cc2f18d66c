"""The demo's tools: each is described, bounded, and clear about what it cannot do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentkit import Agent
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ToolError
from agentkit.messages import ToolCall
from tests.demo.notes import LOADED, TOOLS, headings, result

X = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
W = [[1, 0], [0, 1], [-1, 1]]
LLAMA = {"vocabulary": 32000, "layers": 32, "d_model": 4096, "heads": 32, "feed_forward": 11008}


def test_every_tool_loads_and_describes_each_of_its_arguments() -> None:
    assert LOADED.problems == ()
    assert set(TOOLS) == {
        "attention",
        "count_parameters",
        "count_transformer_parameters",
        "cross_entropy",
        "estimate_memory",
        "fit_quantisation",
        "gradient_descent",
        "perceptron",
        "positional_encoding",
        "softmax",
        "training_compute",
    }
    for tool in TOOLS.values():
        assert all("description" in field for field in tool.parameters["properties"].values())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("attention", {"x": X, "w_q": W, "w_k": W, "w_v": W, "causal": True}),
        ("count_parameters", {"layers": [2, 1]}),
        ("count_transformer_parameters", LLAMA),
        ("cross_entropy", {"probabilities": [[0.5, 0.5]], "labels": [0]}),
        ("estimate_memory", {"parameters_billion": 7}),
        ("fit_quantisation", {"parameters_billion": 7, "card_gb": 8}),
        ("gradient_descent", {"x": [0, 1], "y": [1, 3], "steps": 2}),
        ("perceptron", {"inputs": [1], "weights": [1], "threshold": 0}),
        ("positional_encoding", {"length": 1, "d_model": 2}),
        ("softmax", {"scores": [1, 2]}),
        ("training_compute", {"parameters_billion": 1, "tokens_billion": 1}),
    ],
)
async def test_every_result_has_its_formula_and_the_place_in_the_notes_that_its_description_names(
    name: str, arguments: dict[str, Any]
) -> None:
    answer = await result(name, **arguments)
    assert answer["formula"]
    sources = answer.get("sources") or [answer["source"]]
    for source in sources:
        file, _, heading = source.partition(", ")
        assert heading in headings(file)
        assert source in " ".join(TOOLS[name].description.split())


async def test_seven_billion_at_four_bits_with_8k_context_shows_the_rule_beside_the_sum() -> None:
    estimate = await result("estimate_memory", parameters_billion=7, bits=4, context=8192)
    assert estimate["formula_gb"] == 4.2
    assert estimate["wide_rule_gb"] == [4.375, 5.25]
    assert (estimate["weights_gb"], estimate["overhead_gb"]) == (3.5, 0.7)
    assert estimate["kv_cache_gb"] == pytest.approx(2 * 28 * 4 * 128 * 8192 * 2 / 1e9, abs=1e-4)
    assert estimate["total_gb"] == pytest.approx(4.2 + estimate["kv_cache_gb"], abs=1e-4)
    assert estimate["shape"] == "28 layers, 4 KV heads of 128 (config.json of Qwen2.5-7B)"


async def test_an_agent_answers_that_sum_with_both_figures() -> None:
    arguments = {"parameters_billion": 7, "bits": 4, "context": 8192}
    model = ScriptedModel([ToolCall("1", "estimate_memory", arguments), "4.2 GB, or 4.67 GB"])
    answer = await Agent(model, [TOOLS["estimate_memory"]]).run("7B at 4 bits with 8k context?")
    reported = json.loads(answer.messages[2].text)
    assert (reported["formula_gb"], reported["total_gb"]) == (4.2, 4.6698)


async def test_the_shape_that_is_given_counts_and_so_does_the_batch() -> None:
    shape = {"layers": 32, "kv_heads": 32, "head_size": 128}
    estimate = await result("estimate_memory", parameters_billion=7, context=4096, batch=2, **shape)
    assert estimate["kv_cache_gb"] == pytest.approx(4.295, abs=1e-4)
    assert estimate["shape"].endswith("(as given)")


@pytest.mark.parametrize(
    ("size", "card", "context", "best"),
    [(13, 8, 0, 4), (7, 24, 0, 16), (7, 16, 0, 8), (70, 24, 0, None), (13, 8, 4096, None)],
)
async def test_the_best_quantisation_that_fits_a_card_is_named(
    size: float, card: float, context: int, best: int | None
) -> None:
    fit = await result("fit_quantisation", parameters_billion=size, card_gb=card, context=context)
    assert fit["best_bits"] == best
    assert [option["bits"] for option in fit["options"]] == [16, 8, 4]


@pytest.mark.parametrize(
    ("config", "total"),
    [
        (LLAMA, 6_738_415_616),
        (
            {
                "vocabulary": 128256,
                "layers": 32,
                "d_model": 4096,
                "heads": 32,
                "feed_forward": 14336,
                "kv_heads": 8,
            },
            8_030_261_248,
        ),
        (
            {
                "vocabulary": 152064,
                "layers": 28,
                "d_model": 3584,
                "heads": 28,
                "feed_forward": 18944,
                "kv_heads": 4,
                "biases": "qkv",
            },
            7_615_616_512,
        ),
        (
            {
                "vocabulary": 50257,
                "layers": 12,
                "d_model": 768,
                "heads": 12,
                "feed_forward": 3072,
                "gated": False,
                "biases": "all",
                "tied": True,
                "positions": 1024,
            },
            124_439_808,
        ),
    ],
    ids=["Llama-2-7B", "Llama-3.1-8B", "Qwen2.5-7B", "GPT-2"],
)
async def test_a_transformer_is_counted_as_its_published_size(
    config: dict[str, Any], total: int
) -> None:
    assert (await result("count_transformer_parameters", **config))["total"] == total


async def test_a_causal_token_sees_nothing_after_it() -> None:
    steps = await result("attention", x=X, w_q=W, w_k=W, w_v=W, causal=True)
    assert steps["weights"][0] == [1, 0, 0]
    assert steps["output"][0] == steps["v"][0]
    assert all(sum(row) == pytest.approx(1) for row in steps["weights"])


async def test_softmax_sums_to_one_and_does_not_overflow() -> None:
    answer = await result("softmax", scores=[1000, 1001, 1002])
    assert answer["probabilities"] == pytest.approx([0.0900306, 0.244728, 0.665241])
    assert answer["largest"] == 2


async def test_cross_entropy_is_the_log_of_the_true_class() -> None:
    answer = await result("cross_entropy", probabilities=[[0.7, 0.3], [0.2, 0.8]], labels=[0, 1])
    assert answer["per_sample"] == [0.356675, 0.223144]
    assert (answer["total"], answer["mean"]) == (0.579818, 0.289909)


async def test_too_large_a_learning_rate_is_called_so() -> None:
    line = {"x": [100, 200, 300], "y": [201, 401, 601]}
    assert (await result("gradient_descent", **line))["diverged"]
    assert not (await result("gradient_descent", **line, learning_rate=1e-6))["diverged"]


async def test_each_step_of_gradient_descent_is_shown_at_the_start() -> None:
    descent = await result("gradient_descent", x=[1], y=[3], learning_rate=0.25, steps=2)
    assert [(step["b"], step["w"]) for step in descent["first_steps"]] == [
        (0, 0),
        (1.5, 1.5),
        (1.5, 1.5),
    ]


async def test_a_point_of_rounding_does_not_decide_for_a_perceptron() -> None:
    answer = await result("perceptron", inputs=[1, 1], weights=[0.1, 0.2], threshold=0.3)
    assert (answer["output"], answer["sigmoid"]) == (0, 0.5)


@pytest.mark.parametrize(
    ("name", "arguments", "advice"),
    [
        ("estimate_memory", {"parameters_billion": 0}, "greater than 0"),
        ("estimate_memory", {"parameters_billion": 7, "bits": 5}, "4, 8, 16 or 32"),
        ("estimate_memory", {"parameters_billion": 7, "layers": 32}, "all three"),
        ("estimate_memory", {"parameters_billion": 671, "context": 10}, "num_key_value_heads"),
        ("fit_quantisation", {"parameters_billion": 7, "card_gb": 0}, "greater than 0"),
        ("count_parameters", {"layers": [100]}, "at least 2"),
        ("count_parameters", {"layers": [100, 0]}, "greater than or equal to 1"),
        ("count_transformer_parameters", {**LLAMA, "heads": 3}, "give head_size"),
        ("perceptron", {"inputs": [1], "weights": [1, 2], "threshold": 0}, "as many weights"),
        ("attention", {"x": [], "w_q": W, "w_k": W, "w_v": W}, "at least 1"),
        ("attention", {"x": [[1], [1, 2]], "w_q": W, "w_k": W, "w_v": W}, "rows of one length"),
        ("attention", {"x": [[1, 2]], "w_q": W, "w_k": W, "w_v": W}, "give w_q 2 rows"),
        ("attention", {"x": X, "w_q": W, "w_k": [[1], [1], [1]], "w_v": W}, "the same number"),
        ("attention", {"x": [[1.0] * 17], "w_q": W, "w_k": W, "w_v": W}, "at most 16"),
        ("attention", {"x": [[1e300] * 3], "w_q": W, "w_k": W, "w_v": W}, "less than or equal"),
        ("positional_encoding", {"length": 3, "d_model": 3}, "multiple of 2"),
        ("positional_encoding", {"length": 256, "d_model": 512}, "fewer positions"),
        ("cross_entropy", {"probabilities": [[0.5, 0.6]], "labels": [0]}, "apply softmax"),
        ("cross_entropy", {"probabilities": [[0.5, 0.5]], "labels": [2]}, "from 0 to 1"),
        ("cross_entropy", {"probabilities": [[1, 0]], "labels": [1]}, "infinite"),
        ("cross_entropy", {"probabilities": [[1, 0]], "labels": [1, 1]}, "one label per sample"),
        ("gradient_descent", {"x": [1], "y": [1, 2]}, "as many y"),
        ("softmax", {"scores": [1.0] * 65}, "at most 64"),
    ],
)
async def test_bad_input_is_answered_with_what_to_do(
    name: str, arguments: dict[str, Any], advice: str
) -> None:
    with pytest.raises(ToolError, match=advice):
        await TOOLS[name].run(arguments)
