"""Perturb the vectors of every embedder, in this process and in those it starts.

`make test-perturbed` puts this folder on PYTHONPATH, so the interpreter imports this file first. A
score differs in its last digits from one processor to another; a test that passes only with exact
scores fails here.
"""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


class _Finder(importlib.abc.MetaPathFinder):
    """Find the package's modules as usual, and wrap the embedders in them once they are loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith("agentkit."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                _wrap_embedders(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _wrap_embedders(module: ModuleType) -> None:
    for value in list(vars(module).values()):
        is_own = isinstance(value, type) and value.__module__ == module.__name__
        if is_own and not getattr(value, "_is_protocol", False):
            for name in ("embed_passages", "embed_queries"):
                if embed := vars(value).get(name):
                    setattr(value, name, _perturbed(embed))


def _perturbed(embed: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(embed)
    async def embed_with_noise(self: Any, texts: Sequence[str]) -> Any:
        noise = importlib.import_module("embedder_noise")
        return noise.with_noise(texts, await embed(self, texts))

    return embed_with_noise


sys.meta_path.insert(0, _Finder())
