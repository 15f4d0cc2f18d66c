"""Load a causal language model and its tokenizer from a hub id, a directory or a GGUF file.

Safetensors and GGUF only: pickle files can run code and are refused.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentkit.errors import ConfigError, FaultKind, ModelError

DTYPES = ("auto", "float32", "float16", "bfloat16")
QUANTIZATIONS = ("none", "8bit", "4bit")
ATTENTIONS = ("auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")

_HUB_SECONDS = 10.0
_HUB_ID = re.compile(r"[\w.\-]+(/[\w.\-]+)?")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLES = "has pickle files only, which can run code and are refused"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the weights go and in what form. `device_map` ("auto", "balanced", "sequential")
    spreads them over devices in place of one; `quantization` is done by bitsandbytes."""

    device: str = "auto"
    dtype: str = "auto"
    device_map: str | None = None
    attention: str = "auto"
    quantization: str = "none"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's files are: a hub id or a directory, and the GGUF file in it, if any."""

    name: str
    place: str
    gguf_file: str | None = None

    def error(self, text: str, kind: FaultKind = "other") -> ModelError:
        return ModelError(" ".join(text.split())[:600], self.name, kind)


_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<|end|>")
_CHANNEL = "<|channel|>"
"""In templates with channels <|end|> ends a message, and not the turn."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to generate. `window` in tokens."""

    source: Source
    tokenizer: Any
    model: Any
    window: int | None

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """The tokens that end a turn: as configured, and those of the chat template, which many
        configurations leave out."""
        configured = self.model.generation_config.eos_token_id
        ends = configured if isinstance(configured, (list, tuple)) else [configured]
        template = str(self.tokenizer.chat_template or "")
        known = _TURN_ENDS[: -1 if _CHANNEL in template else None]
        written = {
            number
            for number, token in self.tokenizer.added_tokens_decoder.items()
            if str(token) in known and str(token) in template
        }
        return frozenset({*ends, self.tokenizer.eos_token_id, *written} - {None})


def load_model(
    source: Source, placement: Placement = Placement(), trust_remote_code: bool = False
) -> LoadedModel:
    """Load the model into memory. Takes seconds to minutes. Raises ModelError and ConfigError."""
    try:
        import llguidance  # noqa: F401
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise ConfigError(
            "Models in this process need PyTorch, transformers and llguidance, which are not "
            f"installed ({error}). Run: pip install 'agentkit-rag[hf]'"
        ) from error
    shared: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    weights = weight_arguments(source, placement)
    if source.gguf_file:
        shared["gguf_file"] = source.gguf_file
        weights["quantization_config"] = transformers.GgufConfig(dequantize=True)
    else:
        weights["use_safetensors"] = True
    try:
        with quiet():
            shared["local_files_only"] = Path(source.place).is_dir() or _is_downloaded(source)
            if not shared["local_files_only"]:
                check_hub(source)
            weights["config"] = transformers.AutoConfig.from_pretrained(source.place, **shared)
            tokenizer = transformers.AutoTokenizer.from_pretrained(source.place, **shared)
            models = transformers.AutoModelForCausalLM
            model = models.from_pretrained(source.place, **shared, **weights).eval()
    except ModelError:
        raise
    except Exception as error:
        raise source.error(_load_error(source, error)) from error
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return LoadedModel(source, tokenizer, model, window if isinstance(window, int) else None)


def resolve_source(model: str, gguf_file: str | None = None) -> Source:
    """Return the source that a model name means. Raises ModelError where it is a path to nothing,
    or to nothing that may be loaded."""
    name, path = f"hf:{model}", Path(model).expanduser()
    if path.suffix.lower() == ".gguf" and gguf_file is None:
        return _checked_gguf(Source(name, str(path.parent), path.name))
    if path.is_dir():
        source = Source(name, str(path), gguf_file)
        return _checked_gguf(source) if gguf_file else _checked_directory(source)
    source = Source(name, model, gguf_file)
    if model.startswith(("/", ".", "~")) or not _HUB_ID.fullmatch(model):
        raise source.error(f"{model!r} is not a directory. Check the path.")
    return source


def check_hub(source: Source, endpoint: str | None = None) -> None:
    """Ask the hub for the model before downloading: one request in place of five retries for each
    file. Raises ModelError."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        info = HfApi(endpoint=endpoint).model_info(source.place, timeout=_HUB_SECONDS)
    except RepositoryNotFoundError as error:
        raise source.error(
            f"Model {source.place!r} is not on the hub, and is not a directory. Check the name; "
            "for a private model set HF_TOKEN."
        ) from error
    except HfHubHTTPError as error:
        raise source.error(f"The hub refuses {source.place!r}: {error}") from error
    except Exception as error:
        raise source.error(
            f"{source.place!r} is not on this machine and the hub cannot be reached. "
            f"With network access, run: hf download {source.place}",
            "down",
        ) from error
    _check_files(source, [file.rfilename for file in info.siblings or []])


def weight_arguments(source: Source, placement: Placement) -> dict[str, Any]:
    """Return what `from_pretrained` needs to place the weights on this machine. Raises ConfigError
    and ModelError where that is not possible."""
    for setting, value, known in (
        ("dtype", placement.dtype, DTYPES),
        ("quantization", placement.quantization, QUANTIZATIONS),
        ("attention", placement.attention, ATTENTIONS),
    ):
        if value not in known:
            raise ConfigError(f"Invalid {setting} {value!r}: choose one of {', '.join(known)}.")
    device = _choose_device(source, placement.device)
    # Half formats are slow on a CPU.
    whole = placement.dtype == "auto" and device == "cpu"
    arguments: dict[str, Any] = {
        "dtype": "float32" if whole else placement.dtype,
        "device_map": placement.device_map or {"": device},
    }
    if placement.attention != "auto":
        arguments["attn_implementation"] = placement.attention
    if placement.quantization != "none":
        arguments["quantization_config"] = _quantized(source, placement.quantization, device)
    return arguments


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on any device."""
    text = f"{type(error).__name__}: {error}".lower()
    words = ("out of memory", "outofmemory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(word in text for word in words)


_quiet_lock = threading.Lock()
_quiet_blocks: list[tuple[int, Any]] = []


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and warnings off the screen; those of downloads stay. Blocks
    may overlap: the process-wide switches are put back when the last one ends."""
    import transformers

    logging = transformers.utils.logging
    with _quiet_lock:
        hook = logging.set_tqdm_hook(lambda _, args, kwargs: logging.EmptyTqdm(*args, **kwargs))
        _quiet_blocks.append(_quiet_blocks[0] if _quiet_blocks else (logging.get_verbosity(), hook))
        logging.set_verbosity_error()
        # The bar of its GGUF reader ignores the hook.
        reader: Any = import_module("transformers.modeling_gguf_pytorch_utils")
        reader.tqdm = logging.tqdm
    try:
        yield
    finally:
        with _quiet_lock:
            verbosity, hook = _quiet_blocks.pop()
            if not _quiet_blocks:
                logging.set_verbosity(verbosity)
                logging.set_tqdm_hook(hook)


def _is_downloaded(source: Source) -> bool:
    """Whether a hub model's files are in the local cache, so that the hub need not be asked."""
    from huggingface_hub import try_to_load_from_cache

    weights = (source.gguf_file,) if source.gguf_file else _WEIGHTS
    return any(isinstance(try_to_load_from_cache(source.place, file), str) for file in weights)


def _check_files(source: Source, files: Sequence[str]) -> None:
    ggufs = [file for file in files if file.endswith(".gguf")]
    if source.gguf_file:
        if source.gguf_file not in ggufs:
            some = ", ".join(ggufs[:5]) or "none"
            raise source.error(
                f"{source.place!r} has no {source.gguf_file!r} on the hub. Its GGUF files: {some}."
            )
    elif not any(file.endswith(".safetensors") for file in files):
        if ggufs:
            raise source.error(f"{source.place!r} has GGUF files only: name one as gguf_file.")
        raise source.error(f"{source.place!r} {_PICKLES}. Choose another model.")


def _checked_gguf(source: Source) -> Source:
    file = Path(source.place) / (source.gguf_file or "")
    if not file.is_file():
        raise source.error(f"{str(file)!r} is not a file. Check the path.")
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise source.error(f"{str(file)!r} is not a GGUF file. Download it again.")
    return source


def _checked_directory(source: Source) -> Source:
    path = Path(source.place)
    if not (path / "config.json").is_file():
        ggufs = sorted(path.glob("*.gguf"))
        step = f"Use hf:{ggufs[0]}" if ggufs else "Give the directory that holds the model's files"
        raise source.error(f"{source.place!r} has no config.json. {step}.")
    if any(path.glob("*.safetensors")):
        return source
    if any(path.glob("*.bin")) or any(path.glob("*.pt*")):
        raise source.error(f"{source.place!r} {_PICKLES}. Save it again as safetensors.")
    raise source.error(f"{source.place!r} has no *.safetensors weights. Download it again.")


def _choose_device(source: Source, device: str) -> str:
    import torch

    available = [
        *(["cuda"] if torch.cuda.is_available() else []),
        *(["mps"] if torch.backends.mps.is_available() else []),
        "cpu",
    ]
    if device == "auto":
        return available[0]
    if device.partition(":")[0] not in available:
        raise source.error(f"This machine has no device {device!r}: use {', '.join(available)}.")
    return device


def _quantized(source: Source, quantization: str, device: str) -> Any:
    if not device.startswith("cuda"):
        raise ConfigError(
            f"quantization = {quantization!r} needs a CUDA device, and {source.name} is placed on "
            f"{device!r}. Remove the setting, or use a quantized GGUF file."
        )
    if source.gguf_file:
        raise ConfigError(
            f"quantization = {quantization!r} does not apply to GGUF files such as "
            f"{source.gguf_file}: remove the setting."
        )
    if find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"quantization = {quantization!r} needs bitsandbytes, which is not installed. "
            "Run: pip install bitsandbytes"
        )
    import torch
    import transformers

    if quantization == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def _load_error(source: Source, error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    low = text.lower()
    if is_out_of_memory(error):
        return (
            f"{source.name} does not fit into memory. Choose a smaller model, or set "
            "quantization = 4bit (CUDA) or dtype = bfloat16 for its provider."
        )
    if "trust_remote_code" in low:
        return (
            f"{source.name} brings its own code, which is not run unless you set "
            "trust_remote_code = true for its provider."
        )
    if "gated" in low:
        page = f"https://huggingface.co/{source.place}"
        return f"{source.place!r} is gated: accept its terms on {page} and set HF_TOKEN."
    if "flash" in low or "attn_implementation" in low:
        return f"{source.name} cannot use this attention here ({text}). Set attention = sdpa."
    step = "Download it again" if source.gguf_file else "Check that the download is complete"
    return f"{source.name} cannot be loaded ({text}). {step}."
