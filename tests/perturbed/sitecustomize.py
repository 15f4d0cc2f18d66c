"""Perturb the vectors of every embedder, in this process and in those it starts.

`make test-perturbed` puts this folder on PYTHONPATH, so the interpreter imports this file first. A
score differs in its last digits from one processor to another; a test that passes only with exact
scores fails here. Noise of relative size AGENTKIT_TEST_PERTURB (1e-3 by default) is fixed by the
text, so equal texts keep equal vectors.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

SIZE = float(os.environ.get("AGENTKIT_TEST_PERTURB", "1e-3"))
_build_class = builtins.__build_class__


def _build_perturbed(function: Any, name: str, *bases: Any, **options: Any) -> Any:
    """Create a class as usual; if it is an embedder of ours, wrap the methods that embed."""
    built = _build_class(function, name, *bases, **options)
    if not getattr(built, "__module__", "").startswith(("agentkit.", "tests.")):
        return built
    if not getattr(built, "_is_protocol", False):
        for method in ("embed_passages", "embed_queries"):
            if embed := vars(built).get(method):
                setattr(built, method, _perturbed(embed))
    return built


def _perturbed(embed: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(embed)
    async def embed_with_noise(self: Any, texts: Sequence[str]) -> Any:
        return _with_noise(texts, await embed(self, texts))

    return embed_with_noise


def _with_noise(texts: Sequence[str], vectors: Any) -> Any:
    import numpy as np

    if not len(texts) or len(vectors) != len(texts):
        return vectors
    rows = []
    for text, vector in zip(texts, vectors, strict=True):
        seed = hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8]
        noise = np.random.default_rng(int.from_bytes(seed, "big")).standard_normal(len(vector))
        length = np.linalg.norm(vector)
        row = vector + noise * (SIZE * length / np.linalg.norm(noise))
        rows.append(row * (length / max(float(np.linalg.norm(row)), 1e-12)))
    return np.asarray(rows, vectors.dtype)


builtins.__build_class__ = _build_perturbed
