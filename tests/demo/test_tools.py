"""The demo's tools give the worked examples of the lecture notes, and clear words otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import ToolError
from agentkit.tools.loading import load_tools

LOADED = load_tools(Path(__file__).parents[2] / "tools")
TOOLS = {tool.name: tool for tool in LOADED.tools}

X = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
W = [[1, 0], [0, 1], [-1, 1]]


async def result(name: str, **arguments: Any) -> Any:
    return json.loads(await TOOLS[name].run(arguments))


def test_every_tool_loads_and_describes_each_of_its_arguments() -> None:
    assert LOADED.problems == ()
    assert set(TOOLS) == {
        "estimate_memory",
        "count_parameters",
        "perceptron",
        "attention",
        "positional_encoding",
    }
    for tool in TOOLS.values():
        assert "Source: knowledge/lecture_notes/" in tool.description
        assert all("description" in field for field in tool.parameters["properties"].values())


@pytest.mark.parametrize(("bits", "gigabytes"), [(4, 4.2), (8, 8.4), (16, 16.8), (32, 33.6)])
async def test_seven_billion_parameters_need_what_the_notes_say(
    bits: int, gigabytes: float
) -> None:
    estimate = await result("estimate_memory", parameters_billion=7, bits=bits)
    assert estimate["formula_gb"] == estimate["total_gb"] == gigabytes
    assert estimate["weights_gb"] == 7 * bits / 8
    assert estimate["kv_cache_gb"] is None


async def test_the_wider_rule_is_given_at_sixteen_bits_only() -> None:
    assert (await result("estimate_memory", parameters_billion=7))["rule_of_thumb_gb"] == [
        17.5,
        21,
    ]
    assert (await result("estimate_memory", parameters_billion=7, bits=4))[
        "rule_of_thumb_gb"
    ] is None


async def test_the_kv_cache_is_a_term_of_its_own() -> None:
    estimate = await result(
        "estimate_memory",
        parameters_billion=7,
        layers=32,
        kv_heads=32,
        head_size=128,
        context=4096,
        batch=2,
    )
    assert estimate["kv_cache_gb"] == pytest.approx(2 * 32 * 32 * 128 * 4096 * 2 * 2 / 1e9)
    assert estimate["total_gb"] == pytest.approx(16.8 + estimate["kv_cache_gb"])


@pytest.mark.parametrize(
    ("name", "arguments", "advice"),
    [
        ("estimate_memory", {"parameters_billion": 0}, "give 7 for 7B"),
        ("estimate_memory", {"parameters_billion": 7, "bits": 5}, "4, 8, 16 or 32"),
        ("estimate_memory", {"parameters_billion": 7, "layers": 32}, "give them all"),
        ("estimate_memory", {"parameters_billion": 7, "layers": -1}, "each at least 1"),
        ("count_parameters", {"layers": [100]}, "two or more sizes"),
        ("count_parameters", {"layers": [100, 0]}, "each at least 1"),
        ("perceptron", {"inputs": [1], "weights": [1, 2], "threshold": 0}, "as many weights"),
        ("attention", {"x": [], "w_q": W, "w_k": W, "w_v": W}, "x must be a matrix"),
        ("attention", {"x": [[1], [1, 2]], "w_q": W, "w_k": W, "w_v": W}, "rows of one length"),
        ("attention", {"x": [[1, 2]], "w_q": W, "w_k": W, "w_v": W}, "give w_q 2 rows"),
        ("attention", {"x": X, "w_q": W, "w_k": [[1], [1], [1]], "w_v": W}, "the same number"),
        ("attention", {"x": [[1.0] * 65], "w_q": W, "w_k": W, "w_v": W}, "larger than 64"),
        ("attention", {"x": [[1e300] * 3], "w_q": W, "w_k": W, "w_v": W}, "numbers between"),
        ("positional_encoding", {"length": 3, "d_model": 3}, "an even number"),
        ("positional_encoding", {"length": 4096, "d_model": 4096}, "fewer positions"),
    ],
)
async def test_bad_input_is_answered_with_what_to_do(
    name: str, arguments: dict[str, Any], advice: str
) -> None:
    with pytest.raises(ToolError, match=advice):
        await TOOLS[name].run(arguments)


async def test_a_100_500_10_network_has_55510_parameters() -> None:
    assert await result("count_parameters", layers=[100, 500, 10]) == {
        "weights": 55_000,
        "thresholds": 510,
        "total": 55_510,
    }


@pytest.mark.parametrize(
    ("inputs", "weighted_sum", "output"), [([1, 0, 0], 6, 1), ([0, 1, 1], 5, 0), ([0, 0, 0], 0, 0)]
)
async def test_the_perceptron_decides_by_the_weather(
    inputs: list[int], weighted_sum: float, output: int
) -> None:
    decision = await result("perceptron", inputs=inputs, weights=[6, 2, 3], threshold=5)
    assert decision == {"weighted_sum": weighted_sum, "threshold": 5, "output": output}


async def test_attention_gives_the_corrected_worked_example() -> None:
    steps = await result("attention", x=X, w_q=W, w_k=W, w_v=W)
    assert steps["q"] == steps["k"] == steps["v"] == [[-2, 5], [-2, 11], [-2, 17]]
    assert steps["scores"][0] == pytest.approx([20.5061, 41.7193, 62.9325], abs=1e-4)
    assert [sum(row) for row in steps["weights"]] == pytest.approx([1, 1, 1])
    assert steps["weights"][0] == pytest.approx([3.754e-19, 6.127e-10, 1], rel=1e-3)
    assert steps["output"][2] == pytest.approx([-2, 17])


async def test_positional_encoding_gives_the_corrected_worked_example() -> None:
    table = await result("positional_encoding", length=3, d_model=4)
    assert table[0] == [0, 1, 0, 1]
    assert table[1] == pytest.approx([0.8415, 0.5403, 0.0100, 0.99995], abs=5e-5)
    assert table[2] == pytest.approx([0.9093, -0.4161, 0.0200, 0.9998], abs=5e-5)
