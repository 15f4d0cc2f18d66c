"""Every worked number of the lecture notes, computed again by the demo's tools.

What the notes quote from their originals as wrong is shown to be wrong, and what they put in its
place to be right.
"""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from tests.demo.notes import matrices, result, section, table

FIRST, BASICS, THEORY, NETWORKS, SCRATCH = (
    f"lecture_notes/{name}.md"
    for name in (
        "00_introduction",
        "01_basics",
        "02_theory_and_practice",
        "03_neural_networks",
        "04_from_scratch",
    )
)
SIZES = table(section(THEORY, "不同规模与位数的显存占用表"))
X, W = matrices(section(SCRATCH, "算例一：由输入计算 Q、K、V"))[:2]


def near(rows: list[list[float]], digits: int = 4) -> Any:
    return [pytest.approx(row, abs=0.5 * 10**-digits + 1e-9) for row in rows]


async def steps() -> Any:
    return await result("attention", x=X, w_q=W, w_k=W, w_v=W)


@pytest.mark.parametrize("row", SIZES, ids=[row[0] for row in SIZES])
async def test_the_table_of_sizes_follows_from_the_formula(row: list[str]) -> None:
    size = float(row[0].removesuffix("B"))
    for bits, stated in zip((4, 8, 16), row[1:], strict=True):
        estimate = await result("estimate_memory", parameters_billion=size, bits=bits)
        assert estimate["formula_gb"] == estimate["total_gb"] == float(stated)


async def test_the_three_figures_for_seven_billion_are_those_of_the_notes() -> None:
    estimate = await result("estimate_memory", parameters_billion=7)
    assert estimate["formula_gb"] == 16.8
    assert "= 16.8$ GB" in section(THEORY, "大模型资源占用计算公式")
    assert estimate["wide_rule_gb"] == [17.5, 21]
    assert "17.5 到 21 GB" in section(FIRST, "推理显存的经验估算")
    assert estimate["weights_gb"] == 14
    assert "大约 14 GB" in section(NETWORKS, "推理显存的构成与权重占比")
    assert round(100 * estimate["weights_gb"] / estimate["formula_gb"]) == 83


async def test_the_wide_rule_for_1_5_billion_is_3_75_and_not_3_7() -> None:
    estimate = await result("estimate_memory", parameters_billion=1.5)
    assert estimate["wide_rule_gb"] == [3.75, 4.5]
    assert "3.7 到 4.5 GB" in section(FIRST, "推理显存的经验估算")
    assert "准确值是 3.75" in section(FIRST, "推理显存的经验估算")


async def test_int8_halves_and_int4_quarters_what_16_bits_need() -> None:
    need = {
        bits: await result("estimate_memory", parameters_billion=7, bits=bits)
        for bits in (4, 8, 16)
    }
    for rule in ("formula_gb", "weights_gb"):
        assert need[16][rule] == 2 * need[8][rule] == 4 * need[4][rule]
    assert need[4]["wide_rule_gb"] == [17.5 / 4, 21 / 4]


async def test_the_growth_of_models_is_two_and_four_thousandfold() -> None:
    rows = table(section(FIRST, "“大”体现在哪里：参数量与数据量"))
    parameters = {
        row[0]: float(re.match(r"[\d.]+", row[2])[0])  # type: ignore[index]
        for row in rows
        if "原文" not in row[2]
    }
    assert parameters["DeepSeek-V3"] * 1000 / parameters["BERT"] == pytest.approx(2000, rel=0.01)
    assert 14.8e12 / 3.7e9 == 4000


async def test_training_gpt_3_takes_3_15e23_operations() -> None:
    work = await result("training_compute", parameters_billion=175, tokens_billion=300)
    assert work["flops"] == 3.15e23
    assert r"3.15 \times 10^{23}" in section(BASICS, "大模型为何耗费算力")


async def test_the_gradient_descent_of_the_notes_comes_close_to_1_and_2() -> None:
    descent = await result("gradient_descent", x=[0, 1, 2, 3], y=[1, 3, 5, 7])
    code = re.search(r"```python\n(.*?)```", section(BASICS, "梯度下降的代码示例"), re.S)
    assert code is not None
    names: dict[str, Any] = {"print": lambda *values: None}
    exec(code[1], names)
    assert (descent["end"]["b"], descent["end"]["w"]) == (
        pytest.approx(names["b"], rel=1e-5),
        pytest.approx(names["w"], rel=1e-5),
    )
    assert (descent["end"]["b"], descent["end"]["w"]) == (
        pytest.approx(1, abs=0.05),
        pytest.approx(2, abs=0.05),
    )


@pytest.mark.parametrize(
    ("inputs", "weighted_sum", "output"), [([1, 0, 0], 6, 1), ([0, 1, 1], 5, 0), ([0, 0, 0], 0, 0)]
)
async def test_the_perceptron_decides_by_the_weather(
    inputs: list[int], weighted_sum: float, output: int
) -> None:
    weights = [int(row[1]) for row in table(section(THEORY, "感知器的决策示例：天气、同伴与观众"))]
    decision = await result("perceptron", inputs=inputs, weights=weights, threshold=5)
    assert (decision["weighted_sum"], decision["output"]) == (weighted_sum, output)


async def test_a_100_500_10_network_has_55510_parameters() -> None:
    count = await result("count_parameters", layers=[100, 500, 10])
    assert (count["weights"], count["thresholds"], count["total"]) == (55_000, 510, 55_510)
    assert count["formula"] == "100*500 + 500 + 500*10 + 10"
    assert "= 55510" in section(THEORY, "全连接网络的参数量计算")


async def test_the_original_q_is_wrong_and_the_corrected_one_right() -> None:
    _, _, original, corrected = matrices(section(SCRATCH, "算例一：由输入计算 Q、K、V"))
    worked = await steps()
    assert worked["q"] == worked["k"] == worked["v"] == corrected == [[-2, 5], [-2, 11], [-2, 17]]
    assert original != corrected


async def test_the_original_scores_are_wrong_even_for_the_original_q() -> None:
    original, products, corrected = matrices(section(SCRATCH, "算例二：注意力分数与缩放"))
    worked = await steps()
    assert worked["scores"] == near(corrected)
    assert worked["scores"] == near([[p / math.sqrt(2) for p in row] for row in products], 3)
    q = matrices(section(SCRATCH, "算例一：由输入计算 Q、K、V"))[2]
    own = [[sum(a * b for a, b in zip(row, other, strict=True)) for other in q] for row in q]
    assert own[0] == [5, 14, 26]
    assert original[0] == [7, 16, 30]


async def test_the_original_weights_do_not_sum_to_one_and_the_corrected_ones_do() -> None:
    weights, output, right_weights, right_output = matrices(
        section(SCRATCH, "算例三：注意力权重与输出")
    )
    assert [round(sum(row), 4) for row in weights] == [0.0346, 0.7511, 1.6387]
    worked = await steps()
    assert worked["weights"] == near(right_weights)
    assert worked["output"] == near(right_output)
    assert output[0] != pytest.approx(worked["output"][0], abs=1)
    assert worked["weights"][0] == pytest.approx([3.754e-19, 6.127e-10, 1], rel=1e-3)


async def test_the_original_encoding_is_wrong_in_the_last_column_alone() -> None:
    original, corrected = matrices(section(SCRATCH, "算例四：位置编码矩阵"))
    rows = (await result("positional_encoding", length=3, d_model=4))["rows"]
    assert rows == near(corrected)
    assert [row[:3] for row in original] == near([row[:3] for row in rows])
    assert [row[3] for row in original[1:]] == [0.0995, 0.1980]
    assert [row[3] for row in rows[1:]] == [0.99995, 0.9998]


@pytest.mark.parametrize(
    ("name", "arguments", "field", "answer"),
    [
        ("estimate_memory", {"parameters_billion": 13, "bits": 4}, "formula_gb", 7.8),
        ("estimate_memory", {"parameters_billion": 32, "bits": 8}, "formula_gb", 38.4),
        ("estimate_memory", {"parameters_billion": 14}, "wide_rule_gb", [35, 42]),
        ("estimate_memory", {"parameters_billion": 34}, "weights_gb", 68),
        ("count_parameters", {"layers": [784, 256, 10]}, "total", 203_530),
        ("count_parameters", {"layers": [20, 64, 3]}, "total", 1539),
    ],
)
async def test_the_sums_of_the_demos_questions_come_out(
    name: str, arguments: dict[str, Any], field: str, answer: Any
) -> None:
    assert (await result(name, **arguments))[field] == answer


async def test_position_5_of_the_demos_question_is_0_99875() -> None:
    answer = await result("positional_encoding", length=1, d_model=4, first=5)
    assert answer["rows"][0][3] == 0.99875
