"""What a Hugging Face model's name means: a hub id, a folder or a GGUF file; and whether its
weights may be loaded. Safetensors and GGUF only: pickle files can run code and are refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentkit.errors import FaultKind, ModelError

HUB_SECONDS = 10.0

_HUB_ID = re.compile(r"[\w.\-]+(/[\w.\-]+)?")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLES = "pickle files only, which can run code and are refused"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's files are: a hub id or a folder, and the GGUF file in it, if it is one."""

    name: str
    place: str
    gguf_file: str | None = None

    @property
    def is_folder(self) -> bool:
        return Path(self.place).is_dir()

    def fault(self, text: str, kind: FaultKind = "other") -> ModelError:
        return ModelError(" ".join(text.split())[:600], self.name, kind)


def located(model: str, gguf_file: str | None) -> Source:
    """The source that a name means. Raises ModelError where it is a folder or file that is not
    there, or holds nothing that may be loaded."""
    name, path = f"hf:{model}", Path(model).expanduser()
    if path.suffix.lower() == ".gguf" and gguf_file is None:
        return _checked_gguf(Source(name, str(path.parent), path.name))
    if path.is_dir():
        source = Source(name, str(path), gguf_file)
        return _checked_gguf(source) if gguf_file else _checked_folder(source)
    source = Source(name, model, gguf_file)
    if model.startswith(("/", ".", "~")) or not _HUB_ID.fullmatch(model):
        raise source.fault(f"There is no folder {model!r}. Check the path.")
    return source


def is_downloaded(source: Source) -> bool:
    """Whether a hub model's files are on this machine, so that the hub need not be asked."""
    from huggingface_hub import try_to_load_from_cache

    weights = (source.gguf_file,) if source.gguf_file else _WEIGHTS
    return any(isinstance(try_to_load_from_cache(source.place, file), str) for file in weights)


def check_hub(source: Source, endpoint: str | None = None) -> None:
    """Ask the hub for the model before anything is fetched: one question in place of five retries
    each of a file. Raises ModelError."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        info = HfApi(endpoint=endpoint).model_info(source.place, timeout=HUB_SECONDS)
    except RepositoryNotFoundError as error:
        raise source.fault(
            f"There is no model {source.place!r} on the hub, and no such folder. Check the name; "
            "for a private one set HF_TOKEN."
        ) from error
    except HfHubHTTPError as error:
        raise source.fault(f"The hub refuses {source.place!r}: {error}") from error
    except Exception as error:
        raise source.fault(
            f"{source.place!r} is not on this machine and the hub cannot be reached. "
            f"Where there is a network, run: hf download {source.place}",
            "down",
        ) from error
    _check_files(source, [file.rfilename for file in info.siblings or []])


def _check_files(source: Source, files: Sequence[str]) -> None:
    ggufs = [file for file in files if file.endswith(".gguf")]
    if source.gguf_file:
        if source.gguf_file not in ggufs:
            some = ", ".join(ggufs[:5]) or "none"
            raise source.fault(
                f"{source.place!r} has no {source.gguf_file!r} on the hub. Its GGUF files: {some}."
            )
    elif not any(file.endswith(".safetensors") for file in files):
        if ggufs:
            raise source.fault(f"{source.place!r} has GGUF files only: name one as gguf_file.")
        raise source.fault(f"{source.place!r} has {_PICKLES}. Choose another model.")


def _checked_gguf(source: Source) -> Source:
    file = Path(source.place) / (source.gguf_file or "")
    if not file.is_file():
        raise source.fault(f"There is no file {str(file)!r}. Check the path.")
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise source.fault(f"{str(file)!r} is no GGUF file. Download it again.")
    return source


def _checked_folder(source: Source) -> Source:
    folder = Path(source.place)
    if not (folder / "config.json").is_file():
        ggufs = sorted(folder.glob("*.gguf"))
        step = f"Use hf:{ggufs[0]}" if ggufs else "Give the folder that holds the model's files"
        raise source.fault(f"{source.place!r} has no config.json. {step}.")
    if any(folder.glob("*.safetensors")):
        return source
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        raise source.fault(f"{source.place!r} has {_PICKLES}. Save it again as safetensors.")
    raise source.fault(f"{source.place!r} has no *.safetensors weights. Download it again.")
