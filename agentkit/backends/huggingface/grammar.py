"""Constrain an answer to a JSON Schema by llguidance, as a logits processor. Fast tokenizers only.

Near the limit of tokens, strings and lists are closed rather than cut off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from agentkit.backends.huggingface.load import LoadedModel

_FORMAT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_CLOSING_TOKENS = 48
"""How many tokens before the limit an answer begins to close; half the limit where that is less."""


class Grammars:
    """Compile JSON Schemas for one model; reading its vocabulary takes about a second, once."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded

    def constraint(
        self, schema: Mapping[str, Any], limit: int, lenient: bool = False
    ) -> Constraint:
        """Return the constraint of one answer of at most `limit` tokens; `lenient` ignores keywords
        that llguidance does not support. Raises ModelError for an invalid schema."""
        vocabulary = self._vocabulary
        import llguidance

        text = json.dumps(schema, ensure_ascii=False)
        overrides: Any = {**_FORMAT, "lenient": lenient}
        grammar = llguidance.LLMatcher.grammar_from_json_schema(text, overrides=overrides)
        matcher = llguidance.LLMatcher(vocabulary, grammar)
        if matcher.is_error():
            source = self._loaded.source
            reason = matcher.get_error().strip().splitlines()[-1]
            raise source.error(
                f"{source.name} cannot be constrained to this JSON Schema: {reason}."
            )
        return Constraint(matcher, self._closers, limit)

    @cached_property
    def _vocabulary(self) -> Any:
        import llguidance.hf

        loaded = self._loaded
        size = max(loaded.model.config.get_text_config().vocab_size, len(loaded.tokenizer))
        try:
            return llguidance.hf.from_tokenizer(
                loaded.tokenizer, n_vocab=size, eos_token=sorted(loaded.end_tokens)
            )
        except ValueError as error:
            raise loaded.source.error(
                f"{loaded.source.name} cannot be constrained to a JSON Schema: it has no fast "
                f"tokenizer ({error})."
            ) from error

    @cached_property
    def _closers(self) -> Mapping[str, int]:
        vocabulary = self._loaded.tokenizer.get_vocab()
        return {mark: vocabulary[mark] for mark in '"}],a' if mark in vocabulary}


class Constraint:
    """The state of one constrained answer. Usable as a logits processor of transformers."""

    def __init__(self, matcher: Any, closers: Mapping[str, int], limit: int) -> None:
        self._matcher = matcher
        self._closers = closers
        self._left = limit
        self._closing = min(_CLOSING_TOKENS, limit // 2)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return the scores (1, vocabulary) with forbidden tokens at minus infinity."""
        import torch

        allowed = self._matcher.compute_logit_bias()
        if self._left <= self._closing and (closer := self._closer(allowed)) is not None:
            only = torch.full_like(scores, float("-inf"))
            only[:, closer] = 0.0
            return only
        mask = torch.frombuffer(bytearray(allowed), dtype=torch.uint8).to(scores.device)
        size = min(mask.shape[0], scores.shape[-1])
        masked = torch.full_like(scores, float("-inf"))
        masked[:, :size] = scores[:, :size].masked_fill(mask[:size] == 0, float("-inf"))
        return masked

    def accept(self, token: int) -> bool:
        """Advance by the chosen token; whether the answer is complete."""
        self._left -= 1
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())

    def _closer(self, allowed: bytes) -> int | None:
        """Return the token that brings the end nearest. A quote closes where a letter is allowed
        too: elsewhere it would open a string."""
        free = {mark for mark, token in self._closers.items() if allowed[token]}
        if {'"', "a"} <= free:
            return self._closers['"']
        return next((self._closers[mark] for mark in "}]," if mark in free), None)
