"""Noise for vectors: AGENTKIT_TEST_PERTURB is its size relative to a vector's length.

It is fixed by the text, so equal texts keep equal vectors. Without the variable there is none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIZE = float(os.environ.get("AGENTKIT_TEST_PERTURB") or 0)


def with_noise(texts: Sequence[str], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add each text's noise to its vector, and keep the vector's length."""
    if not SIZE or not len(texts) or len(vectors) != len(texts):
        return vectors
    rows = []
    for text, vector in zip(texts, vectors, strict=True):
        seed = hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8]
        noise = np.random.default_rng(int.from_bytes(seed, "big")).standard_normal(len(vector))
        length = float(np.linalg.norm(vector))
        row = vector + noise * (SIZE * length / np.linalg.norm(noise))
        rows.append(row * (length / max(float(np.linalg.norm(row)), 1e-12)))
    return np.asarray(rows, np.float32)
