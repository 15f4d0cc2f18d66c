"""Names of tools as models and servers write them."""

import pytest

from agentkit.tools.names import clean_name, match_name

NAMES = {
    "get_weather": "get_weather", "functions.get_weather": "get_weather",
    "functions.get_weather:0": "get_weather", "get_weather:12": "get_weather",
    "get_weather<|channel|>commentary": "get_weather", "get_weather<|channel|>json": "get_weather",
    "get_weather ": "get_weather", "default_api:get_weather": "get_weather",
    "default_api.get_weather": "get_weather", "tool.get_weather": "get_weather",
    "tools/get_weather": "get_weather", "get_weather()": "get_weather",
    "get_weather>": "get_weather",
    "get_weather</tool_call>": "get_weather",
    "get_weather:": "get_weather",
    "get_weather{}": "get_weather",
    'get_weather{"city": "Rome"}': "",
    "get-weather": "get_weather", "Get_Weather": "get_weather", "getWeather": "get_weather",
    '"get_weather"': "get_weather", "`get_weather`": "get_weather",
    "get_weather\n{": "get_weather", "get_weather(city=": "",
    "assistant.functions.get_weather": "get_weather", "mcp__time__now": "time__now",
    "time.now": "time__now", "time__now": "time__now",
    "": "", "weather": "", "get_weather2": "", "other__get_weather": "", "<|call|>": "",
}  # fmt: skip


@pytest.mark.parametrize(("written", "name"), NAMES.items(), ids=map(repr, NAMES))
def test_a_wild_name_means_the_one_tool_it_can_mean(written: str, name: str) -> None:
    assert match_name(written, ["get_weather", "time__now"]) == name


def test_a_name_that_may_mean_two_tools_means_none() -> None:
    assert match_name("GET-WEATHER", ["get_weather", "getWeather"]) == ""


@pytest.mark.parametrize(
    "written", ["x<|channel|>commentary", "天气", "a b", "", "a.b:c", "y" * 200, "{}"]
)
def test_a_name_of_no_tool_is_made_a_word(written: str) -> None:
    cleaned = clean_name(written)
    assert 0 < len(cleaned) <= 64
    assert cleaned.replace("_", "").isalnum()
