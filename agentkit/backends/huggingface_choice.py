"""Choose the next token of one chat from the model's scores, with what its options ask for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentkit.backends.base import Options
from agentkit.backends.huggingface_grammar import Held
from agentkit.backends.huggingface_load import Loaded
from agentkit.backends.huggingface_prompt import TEMPLATE_OPTIONS

Processor = Callable[[Any, Any], Any]
"""Ids (1, n) and scores (1, vocabulary) to scores, as transformers' own processors are."""

_PENALTIES = {
    "repetition_penalty": "RepetitionPenaltyLogitsProcessor",
    "no_repeat_ngram_size": "NoRepeatNGramLogitsProcessor",
}
_WARPERS = {
    "top_k": "TopKLogitsWarper",
    "top_p": "TopPLogitsWarper",
    "min_p": "MinPLogitsWarper",
}
_NO_EFFECT = {"repetition_penalty": 1.0, "top_p": 1.0}
KNOWN = (*_PENALTIES, *_WARPERS, "logits_processor", TEMPLATE_OPTIONS)


class Choice:
    """How one chat's tokens are chosen. `greedy` where the best score is all that counts."""

    def __init__(self, loaded: Loaded, options: Options, held: Held | None, limit: int) -> None:
        settings = _settings(loaded, options)
        self._held = held
        self._limit = limit
        self._custom: Sequence[Processor] = settings.get("logits_processor") or ()
        self._penalties = _made(_PENALTIES, settings)
        self._temperature = _temperature(loaded, options)
        self._warpers = _made(_WARPERS, settings) if self._temperature else []
        self._generator = _generator(loaded, options.seed) if self._temperature else None
        self.greedy = not (held or self._custom or self._penalties or self._temperature)

    def next(self, ids: Sequence[int], count: int, scores: Any) -> Any:
        """The next token, a tensor of one number. `ids` are all so far, `count` of them answered;
        `scores` are (1, vocabulary)."""
        import torch

        if self._penalties or self._custom:
            seen = torch.tensor([ids], device=scores.device)
            for process in (*self._penalties, *self._custom):
                scores = process(seen, scores)
        if self._held is not None:
            scores = self._held.masked(scores, self._limit - count)
        if not self._temperature:
            return scores.argmax(dim=-1)
        scores = scores / self._temperature
        for warp in self._warpers:
            scores = warp(None, scores)
        return torch.multinomial(scores.softmax(dim=-1), 1, generator=self._generator)[0]

    def accept(self, token: int) -> bool:
        """Take note of the token; whether a grammar says that the answer is whole."""
        return self._held is not None and self._held.accept(token)


def check(loaded: Loaded, options: Options) -> None:
    """Raises ModelError where `extra` asks for what nobody here can do."""
    unknown = sorted(set(options.extra) - set(KNOWN))
    if unknown:
        raise loaded.source.fault(
            f"{loaded.source.name} knows no option {', '.join(unknown)}: use {', '.join(KNOWN)}."
        )


def _settings(loaded: Loaded, options: Options) -> Mapping[str, Any]:
    """What comes with the model, under what the user asks for."""
    own = {
        key: getattr(loaded.model.generation_config, key, None) for key in (*_PENALTIES, *_WARPERS)
    }
    return {**own, **options.extra}


def _made(kinds: Mapping[str, str], settings: Mapping[str, Any]) -> list[Processor]:
    import transformers

    return [
        getattr(transformers, kind)(settings[key])
        for key, kind in kinds.items()
        if settings.get(key) and settings[key] != _NO_EFFECT.get(key)
    ]


def _temperature(loaded: Loaded, options: Options) -> float:
    """0 for the best token always."""
    if options.temperature is not None:
        return options.temperature if math.isfinite(options.temperature) else 0.0
    own = loaded.model.generation_config
    return float(own.temperature or 1.0) if own.do_sample else 0.0


def _generator(loaded: Loaded, seed: int | None) -> Any:
    import torch

    generator = torch.Generator(device=loaded.model.device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed % 2**63)
    return generator
