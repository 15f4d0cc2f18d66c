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

    def prefill(self, ids: Sequence[int], cache: Any) -> Any:
        """Scores (1, vocabulary) after one sequence's next tokens."""
        self.prefilled += len(ids)
        return self._scores([ids], cache, {})

    def step(self, tokens: Sequence[int], cache: Any, length: int, pads: Sequence[int]) -> Any:
        """Scores (rows, vocabulary) after one more token of each row; `length` tokens are in the
        cache, the first `pads` of each row empty."""
        import torch

        more: dict[str, Any] = {}
        if any(pads):
            device = self._model.device
            empty = torch.tensor(pads, device=device)[:, None]
            more["attention_mask"] = (torch.arange(length + 1, device=device) >= empty).long()
            if "position_ids" in self._names:
                more["position_ids"] = length - empty
        return self._scores([[token] for token in tokens], cache, more)

    def _scores(self, rows: Sequence[Sequence[int]], cache: Any, more: dict[str, Any]) -> Any:
        import torch

        held = "cache_params" if "cache_params" in self._names else "past_key_values"
        if "logits_to_keep" in self._names:
            more["logits_to_keep"] = 1
        ids = torch.tensor(rows, device=self._model.device)
        made = self._model(input_ids=ids, use_cache=True, **{held: cache}, **more)
        return made.logits[:, -1].float()


def joined(caches: Sequence[Any], lengths: Sequence[int], empty: Any) -> Any:
    """`empty` filled with the sequences of all caches, filled up on the left to the longest."""
    import torch
    from torch.nn.functional import pad

    longest = max(lengths)
    for number, layers in enumerate(zip(*(cache.layers for cache in caches), strict=True)):
        if layers[0].is_initialized:
            gaps = [(0, 0, longest - length, 0) for length in lengths]
            keys = [pad(layer.keys, gap) for layer, gap in zip(layers, gaps, strict=True)]
            values = [pad(layer.values, gap) for layer, gap in zip(layers, gaps, strict=True)]
            empty.update(torch.cat(keys), torch.cat(values), number)
    return empty


def left_with(cache: Any, rows: Sequence[int], cut: int) -> None:
    """Keep these rows only, and cut so many tokens from their left."""
    import torch

    for layer in cache.layers:
        if layer.is_initialized:
            kept = torch.tensor(rows, device=layer.keys.device)
            layer.keys = layer.keys[kept, :, cut:]
            layer.values = layer.values[kept, :, cut:]
