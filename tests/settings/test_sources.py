"""Settings in layers: which value holds, who gave it, and and what is reported of a wrong one."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from agentkit.errors import ConfigError
from agentkit.project.project import Project
from agentkit.settings.dotted_keys import format_key, known_keys, parse_key, parse_value
from agentkit.settings.profile import SettingsTable
from agentkit.settings.schema import Settings, schema_text, settings_schema
from agentkit.settings.sources import ResolvedSettings, is_reserved, read_settings, user_file
from tests.conftest import unprivileged
from tests.settings_page import PAGE, SCHEMA, page

ROOT = Path(__file__).parents[2]

Read = Callable[..., ResolvedSettings]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write the files, and read what holds."""

    def reading(toml: str = "", user: str = "", **more: Any) -> ResolvedSettings:
        (tmp_path / "agentkit.toml").write_text(toml, encoding="utf-8")
        user_file().parent.mkdir(parents=True, exist_ok=True)
        user_file().write_text(user, encoding="utf-8")
        return read_settings(tmp_path, **more)

    return reading


def test_each_layer_comes_before_those_below_it_and_is_named(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = "[limits]\nturns = 1\ntool_calls = 1\nparallel_calls = 1\nseconds = 1\n"
    own = "[limits]\ntool_calls = 2\nparallel_calls = 2\nseconds = 2\n"
    monkeypatch.setenv("AGENTKIT_LIMITS__PARALLEL_CALLS", "3")
    monkeypatch.setenv("AGENTKIT_LIMITS__SECONDS", "3")
    found = read(own, user, overrides={"limits.seconds": 4})
    limits = found.settings.limits
    assert (limits.turns, limits.tool_calls, limits.parallel_calls) == (1, 2, 3)
    assert (limits.seconds, limits.tokens) == (4, None)
    assert {key[1]: origin for key, origin in found.origins.items()} == {
        "turns": str(user_file()),
        "tool_calls": str(tmp_path / "agentkit.toml"),
        "parallel_calls": "AGENTKIT_LIMITS__PARALLEL_CALLS",
        "seconds": "option",
    }
    assert found.origin(("limits", "tokens")) == "default"


def test_tables_are_merged_and_lists_are_replaced(read: Read) -> None:
    user = '[tools]\nbuiltin = ["files"]\nroots = ["a"]\n[prices.x]\ninput = 1\noutput = 1\n'
    settings = read('[tools]\nroots = ["b"]\n[prices.y]\ninput = 2\noutput = 2\n', user).settings
    assert (settings.tools.builtin, settings.tools.roots) == (["files"], ["b"])
    assert sorted(settings.prices) == ["x", "y"]


def test_a_folder_that_is_not_trusted_gives_no_settings_and_the_other_layers_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agentkit.toml").write_text('model = "openai:theirs"\ninstructions = "x"')
    user_file().parent.mkdir(parents=True)
    user_file().write_text("[knowledge]\nresults = 3\n")
    monkeypatch.setenv("AGENTKIT_KNOWLEDGE__STRICT", "true")
    project = Project.open(tmp_path, overrides={"knowledge.retrieve": "never"})
    known = project.settings.knowledge
    assert (project.settings.model, project.settings.instructions) == ("auto", "")
    assert (known.results, known.strict, known.retrieve) == (3, True, "never")


def test_an_override_of_none_is_none_and_a_model_is_one(tmp_path: Path) -> None:
    project = Project.open(tmp_path, model=["a:x", "b:y"], overrides={"knowledge.results": None})
    assert project.settings.model == ["a:x", "b:y"]
    assert project.settings.knowledge.results == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            {"knowledge.result": 8},
            "Unknown setting 'knowledge.result'. Did you mean 'knowledge.",
        ),
        ({"knowlege.results": 8}, "Unknown setting 'knowlege'. Did you mean 'knowledge'"),
        ({"results": 8}, "Unknown setting 'results'. Did you mean 'knowledge.results'"),
        ({"model.x": 8}, "Unknown setting 'model.x'"),
        ({"prices.openai:x.input": 1}, "characters, as in prices."),
        ({"": 1}, "Invalid key ''"),
        ({"knowledge.results": 80}, "knowledge.results: must be at most 50"),
        ({"knowledge.results": "many"}, "knowledge.results: must be a whole number"),
        ({"knowledge.retrieve": "often"}, "knowledge.retrieve: must be 'always', 'auto'"),
        ({"prices.x.input": 1}, "prices.x.output: is missing. Add it"),
    ],
)
def test_a_wrong_option_is_an_error_that_names_the_nearest(
    override: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Project.open(tmp_path, overrides=override)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            "[knowledge]\nresult = 1",
            "agentkit.toml: Unknown setting 'knowledge.result'. Did you",
        ),
        ("[knowledge]\nresults = 0", "agentkit.toml: knowledge.results: must be at least 1"),
        ("knowledge = 3", "agentkit.toml: knowledge: must be a table"),
        ('[prices."a.b"]\ninput = 1', 'agentkit.toml: prices."a.b".output: is missing'),
        ("model = ", "agentkit.toml: invalid TOML"),
        ("x = " + "[" * 20_000, "agentkit.toml: invalid TOML"),
        ("#" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_a_wrong_file_is_named_with_the_key(read: Read, toml: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(toml)
    with pytest.raises(
        ConfigError, match=re.escape(message.replace("agentkit.toml", "config.toml"))
    ):
        read("", toml)


def test_a_byte_order_mark_is_no_part_of_the_settings(read: Read) -> None:
    assert read("\ufeffmodel = 'a:x'").settings.model == "a:x"


def test_a_user_file_that_cannot_be_read_is_named_and_an_unknown_home_is_none(
    shared_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shared_folder))
    user_file().parent.mkdir()
    user_file().write_text("[knowledge]\nresults = 3\n")
    user_file().chmod(0)
    with unprivileged(), pytest.raises(ConfigError, match=r"config\.toml cannot be read"):
        read_settings(shared_folder)
    user_file().parent.chmod(0)
    with unprivileged():
        assert read_settings(shared_folder).settings.knowledge.results == 5


@pytest.mark.parametrize(
    ("variable", "value", "key", "held"),
    [
        ("AGENTKIT_MODEL", "ollama:qwen3:8b", "model", "ollama:qwen3:8b"),
        ("AGENTKIT_MODEL", '["a:x", "b:y"]', "model", ["a:x", "b:y"]),
        ("AGENTKIT_INSTRUCTIONS", "true", "instructions", "true"),
        ("AGENTKIT_INSTRUCTIONS", "[答] 8 # 9", "instructions", "[答] 8 # 9"),
        ("AGENTKIT_INSTRUCTIONS", "a\nb = 1", "instructions", "a\nb = 1"),
        ("AGENTKIT_KNOWLEDGE__RERANK", '""', "knowledge.rerank", ""),
        ("AGENTKIT_KNOWLEDGE__RESULTS", "8", "knowledge.results", 8),
        ("AGENTKIT_KNOWLEDGE__STRICT", "true", "knowledge.strict", True),
        ("AGENTKIT_KNOWLEDGE__RETRIEVE", "auto", "knowledge.retrieve", "auto"),
        ("AGENTKIT_LIMITS__SECONDS", "1.5", "limits.seconds", 1.5),
        ("AGENTKIT_LIMITS", "{turns = 2}", "limits.turns", 2),
        ("AGENTKIT_TOOLS__BUILTIN", '["date"]', "tools.builtin", ["date"]),
        ("AGENTKIT_PROVIDERS__WORK__BASE_URL", "http://a/v1", "providers.work.base_url", 0),
        ("AGENTKIT_PROVIDERS__W__EXTRA_BODY__TOP_K", "3", "providers.w.extra_body.top_k", 3),
        ("AGENTKIT_PRICES", '{"a:x" = {input = 1, output = 2}}', 'prices."a:x".output', 2),
    ],
)
def test_a_variable_sets_a_value_of_its_type(
    variable: str, value: str, key: str, held: Any, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    found = read()
    place: Any = found.settings.model_dump()
    for part in parse_key(key):
        place = place[part]
    assert place == (held or value.strip('"'))
    assert found.origin(parse_key(key)) == variable


def test_a_variable_reaches_a_name_that_only_a_file_can_spell(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKIT_PROVIDERS__MY_BOX__READ_TIMEOUT", "9")
    monkeypatch.setenv("AGENTKIT_PRICES__OPENAI_GPT_5_1__INPUT", "3")
    settings = read(
        '[providers.my-box]\nkind = "ollama"\n[prices."openai:gpt-5.1"]\ninput = 1\noutput = 2\n'
    ).settings
    assert settings.providers["my-box"].read_timeout == 9
    assert settings.prices["openai:gpt-5.1"].input == 3


def test_an_empty_variable_counts_as_not_set(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_MODEL", "")
    monkeypatch.setenv("AGENTKIT_KNOWLEDGE__RESULTS", "")
    found = read()
    assert (found.settings, found.origins) == (Settings(), {})


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "AGENTKIT_KNOWLEDGE__RESULT",
            "8",
            "Unknown setting 'knowledge.result'. Did you mean",
        ),
        ("AGENTKIT_KNOWLEDGE__RESULTS", "lots", "knowledge.results: must be a whole"),
        ("AGENTKIT_PROVIDERS__W__API_KEY", "k-secret", "API keys are not allowed in settings"),
    ],
)
def test_a_wrong_variable_of_a_table_is_an_error(
    variable: str, value: str, message: str, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=re.escape(f"{variable}: ")) as raised:
        read()
    assert message in str(raised.value)
    assert "secret" not in str(raised.value)


def test_another_variable_of_our_name_is_a_notice_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKIT_KNOWLEDGE_RESULTS", "8")
    monkeypatch.setenv("AGENTKIT_ZZZ", "8")
    monkeypatch.setenv("AGENTKIT_TEST_ANYTHING", "8")
    assert Project.open(tmp_path).notices == [
        "AGENTKIT_KNOWLEDGE_RESULTS is ignored: unknown setting. "
        "Did you mean AGENTKIT_KNOWLEDGE__RESULTS?",
        "AGENTKIT_ZZZ is ignored: unknown setting.",
    ]


def test_every_variable_that_the_code_reads_is_reserved() -> None:
    sources = [*ROOT.glob("agentkit/**/*.py"), *ROOT.glob("tests/**/*.py"), ROOT / "Makefile"]
    quoted = {
        name
        for path in sources
        if path != Path(__file__)
        for name in re.findall(r'environ[^\n]*"(AGENTKIT_[A-Z0-9_]+)"', path.read_text("utf-8"))
    }
    assert len(quoted) >= 4
    assert [name for name in sorted(quoted) if not is_reserved(name)] == []


WORK = '[providers.work]\nbase_url = "http://a/v1"\napi_key_env = "WORK_KEY"\n'


def test_a_layer_that_moves_a_provider_takes_no_key_from_below(read: Read) -> None:
    moved = read('[providers.work]\nbase_url = "http://b/v1"\n', WORK).settings.providers["work"]
    assert (moved.base_url, moved.api_key_env) == ("http://b/v1", None)
    to_the_file = '[providers.openai]\napi_key_file = "~/key"\n'
    moved = read('[providers.openai]\nbase_url = "http://b"\n', to_the_file).settings.providers[
        "openai"
    ]
    assert moved.api_key_file is None


def test_a_layer_that_leaves_the_address_or_names_the_key_keeps_it(read: Read) -> None:
    kept = read("[providers.work]\nmax_retries = 0\n", WORK).settings.providers["work"]
    same = read('[providers.work]\nbase_url = "http://a/v1"\n', WORK).settings.providers["work"]
    named = read(WORK.replace("//a", "//b"), WORK).settings.providers["work"]
    assert (kept.api_key_env, same.api_key_env, named.api_key_env) == ("WORK_KEY",) * 3


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "k-secret"',
        'token = "k-secret"',
        'api_key_env = "k-secret"',
        'api_key_env = "abcdef0123456789abcdef0123k5ecret"',
        'api_key_file = "k-secret"',
        'api_key_env = ["k-secret"]',
        'base_url = {"k-secret" = "k-secret"}',
    ],
)
def test_a_key_in_a_file_is_refused_and_not_repeated(read: Read, line: str) -> None:
    with pytest.raises(ConfigError, match=r"agentkit\.toml: providers\.work\.") as raised:
        read(f"[providers.work]\n{line}\n")
    assert "k-secret" not in str(raised.value)
    assert "k5ecret" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("key", ["knowledge.results", 'prices."openai:gpt-5.1".input', '"a b"."é"'])
def test_a_key_is_written_as_it_is_read(key: str) -> None:
    assert format_key(parse_key(key)) == key


@pytest.mark.parametrize("text", ["a = 1\nb", "a.b = 0 #", "[a]\nb", "a", "é"])
def test_what_is_no_single_key_is_never_taken_for_two(text: str) -> None:
    try:
        assert len(parse_key(text)) <= 2
    except ConfigError:
        assert text not in ("a",)


def test_text_and_numbers_are_distinguished_by_what_the_setting_takes() -> None:
    assert (parse_value("8", str), parse_value("8", int), parse_value('"8"', str)) == ("8", 8, "8")
    assert parse_value("[1]", str) == "[1]"


def test_every_setting_says_what_it_does() -> None:
    silent = [
        f"{section.__name__}.{name}"
        for section in SettingsTable.__subclasses__()
        for name, field in section.model_fields.items()
        if not field.description
        and not (isinstance(field.annotation, type) and issubclass(field.annotation, SettingsTable))
    ]
    assert silent == []
    assert all(section.__doc__ for section in SettingsTable.__subclasses__())


def test_the_page_and_the_schema_are_those_of_the_settings() -> None:
    step = "Run: python -m tests.settings_page"
    assert PAGE.read_text(encoding="utf-8") == page(), step
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), step


def test_every_key_stands_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    names = {key[-1] for key in known_keys()} - {"NAME", "MODEL", *Settings.model_fields}
    assert [name for name in sorted(names) if f"| `{name}` |" not in text] == []


VALID = [
    "",
    'model = ["a:x", "b:y"]',
    '[knowledge]\nresults = 8\nretrieve = "auto"',
    '[providers.work]\nbase_url = "http://a/v1"\napi_key_env = "K"\nextra_body = {a = [1]}',
    '[prices."a:x"]\ninput = 1\noutput = 2.5',
    (ROOT / "agentkit.toml").read_text(encoding="utf-8"),
]
INVALID = [
    "model = 3",
    "modle = 'x'",
    "[knowledge]\nresults = 0",
    "[knowledge]\nretrieve = 'often'",
    "[limits]\nseconds = 0",
    "[providers.work]\napi_key = 'k'",
    "[prices.x]\ninput = 1",
    "[tools]\nbuiltin = ['shell']",
]


def test_the_schema_is_one_and_judges_as_the_settings_do() -> None:
    schema = settings_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    assert [text for text in VALID if not judge.is_valid(tomllib.loads(text))] == []
    assert [text for text in INVALID if judge.is_valid(tomllib.loads(text))] == []
    for text in VALID:
        Settings.model_validate(tomllib.loads(text))


def test_every_key_of_the_schema_is_described_for_editors() -> None:
    schema = settings_schema()
    keys = [*schema["properties"].items()]
    keys += [pair for each in schema["$defs"].values() for pair in each["properties"].items()]
    assert [name for name, key in keys if not key.get("description") and "$ref" not in key] == []
    assert "null" not in json.dumps(schema)
