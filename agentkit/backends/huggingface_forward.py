"""One pass through a model and what it keeps of it: a cache of one or more sequences, of unequal
length, filled up on the left.

Models that keep a state in place of keys and values (Mamba, Qwen3-Next) cannot be joined or cut:
they get a cache of their own for one sequence at a time.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from agentkit.backends.huggingface_load import Loaded

_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


class Forward:
    """`joinable` says whether caches may be joined, cut and kept. `prefilled` counts the tokens
    of prompts that went through."""

    def __init__(self, loaded: Loaded) -> None:
        self._model = loaded.model
        self._config = loaded.model.config.get_text_config()
        self._names = frozenset(inspect.signature(loaded.model.forward).parameters)
        stateful = getattr(loaded.model, "_is_stateful", False) or "cache_params" in self._names
        kinds = set(getattr(self._config, "layer_types", None) or ())
        self.joinable = not stateful and kinds <= _ATTENTION
        self.prefilled = 0

    def new_cache(self) -> Any:
        """An empty cache. Without the configuration every layer keeps all, which a cache that is
        cut or joined must."""
        import transformers

        return transformers.DynamicCache(config=None if self.joinable else self._config)

    def prefill(self, rows: Sequence[Sequence[int]], cache: Any, length: int = 0) -> Any:
        """Scores (rows, vocabulary) after the rows' next tokens; `length` tokens are in the cache,
        and only one row where any are. Rows of unequal length are filled up on the left."""
        self.prefilled += sum(map(len, rows))
        longest = max(map(len, rows))
        empty = [longest - len(row) for row in rows]
        full = [[0] * gap + list(row) for gap, row in zip(empty, rows, strict=True)]
        return self._scores(full, cache, length, empty)

    def step(self, tokens: Sequence[int], cache: Any, length: int, empty: Sequence[int]) -> Any:
        """Scores (rows, vocabulary) after one more token of each row; the first `empty` of each
        row's `length` tokens in the cache are none."""
        return self._scores([[token] for token in tokens], cache, length, empty)

    def _scores(
        self, rows: Sequence[Sequence[int]], cache: Any, length: int, empty: Sequence[int]
    ) -> Any:
        import torch

        device = self._model.device
        more: dict[str, Any] = {}
        if any(empty):
            gaps = torch.tensor(empty, device=device)[:, None]
            places = torch.arange(length + len(rows[0]), device=device)
            more["attention_mask"] = (places >= gaps).long()
            if "position_ids" in self._names:
                more["position_ids"] = (places[length:] - gaps).clamp(min=0)
        if "logits_to_keep" in self._names:
            more["logits_to_keep"] = 1
        held = "cache_params" if "cache_params" in self._names else "past_key_values"
        ids = torch.tensor(rows, device=device)
        made = self._model(input_ids=ids, use_cache=True, **{held: cache}, **more)
        return made.logits[:, -1].float()


def joined(one: Any, other: Any, gaps: tuple[int, int], empty: Any) -> Any:
    """`empty` filled with the rows of both caches, after so many empty places on their left."""
    import torch
    from torch.nn.functional import pad

    for number, pair in enumerate(zip(one.layers, other.layers, strict=True)):
        if pair[0].is_initialized:
            sides = list(zip(pair, gaps, strict=True))
            keys = torch.cat([pad(layer.keys, (0, 0, gap, 0)) for layer, gap in sides])
            values = torch.cat([pad(layer.values, (0, 0, gap, 0)) for layer, gap in sides])
            empty.update(keys, values, number)
    return empty


def left_with(cache: Any, rows: Sequence[int], cut: int) -> None:
    """Keep these rows only, and cut so many tokens from their left."""
    import torch

    for layer in cache.layers:
        if layer.is_initialized:
            kept = torch.tensor(rows, device=layer.keys.device)
            layer.keys = layer.keys[kept, :, cut:]
            layer.values = layer.values[kept, :, cut:]
