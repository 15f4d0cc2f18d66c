"""Hold an answer to a JSON Schema, token by token, by llguidance. Only for fast tokenizers.

Near the limit of tokens, strings and lists are closed rather than cut off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from agentkit.backends.huggingface_load import Loaded
from agentkit.errors import ConfigError

_FORMAT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_CLOSING_TOKENS = 48
"""How many tokens before the limit an answer begins to close; half the limit where that is less."""


class Grammars:
    """Makes what holds an answer, for one model; reading its vocabulary takes about a second."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    def held(self, schema: Mapping[str, Any], limit: int, lenient: bool = False) -> Held:
        """What holds one answer of `limit` tokens to the schema; `lenient` overlooks what cannot
        be held. Raises ModelError where the schema is none or asks too much."""
        import llguidance

        text = json.dumps(schema, ensure_ascii=False)
        overrides: Any = {**_FORMAT, "lenient": lenient}
        grammar = llguidance.LLMatcher.grammar_from_json_schema(text, overrides=overrides)
        matcher = llguidance.LLMatcher(self._vocabulary, grammar)
        if matcher.is_error():
            source = self._loaded.source
            reason = matcher.get_error().strip().splitlines()[-1]
            raise source.fault(f"{source.name} cannot be held to this JSON Schema: {reason}.")
        return Held(matcher, self._marks, min(_CLOSING_TOKENS, limit // 2))

    @cached_property
    def _vocabulary(self) -> Any:
        try:
            import llguidance.hf
        except ImportError as error:
            raise ConfigError(
                "Holding an answer to a JSON Schema needs llguidance, which is not installed. "
                "Run: pip install 'agentkit-rag[hf]'"
            ) from error
        loaded = self._loaded
        size = max(loaded.model.config.get_text_config().vocab_size, len(loaded.tokenizer))
        try:
            return llguidance.hf.from_tokenizer(
                loaded.tokenizer, n_vocab=size, eos_token=sorted(loaded.ends)
            )
        except ValueError as error:
            name = loaded.source.name
            raise loaded.source.fault(
                f"{name} cannot be held to a JSON Schema: its tokenizer is no fast one ({error})."
            ) from error

    @cached_property
    def _marks(self) -> Mapping[str, int]:
        """The tokens by which an answer is closed."""
        vocabulary = self._loaded.tokenizer.get_vocab()
        return {mark: vocabulary[mark] for mark in '"}],a' if mark in vocabulary}


class Held:
    """One answer, held. Not to be shared."""

    def __init__(self, matcher: Any, marks: Mapping[str, int], closing: int) -> None:
        self._matcher = matcher
        self._marks = marks
        self._closing = closing

    def masked(self, scores: Any, left: int) -> Any:
        """The scores, with what the grammar forbids made impossible; `left` tokens may follow."""
        import torch

        allowed = self._matcher.compute_logit_bias()
        if left <= self._closing and (mark := self._closer(allowed)) is not None:
            only = torch.full_like(scores, float("-inf"))
            only[:, mark] = 0.0
            return only
        mask = torch.frombuffer(bytearray(allowed), dtype=torch.uint8).to(scores.device)
        size = min(mask.shape[0], scores.shape[-1])
        held = torch.full_like(scores, float("-inf"))
        held[:, :size] = scores[:, :size].masked_fill(mask[:size] == 0, float("-inf"))
        return held

    def accept(self, token: int) -> bool:
        """Take note of the token; whether the answer is whole."""
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())

    def _closer(self, allowed: bytes) -> int | None:
        """The token that brings the end nearest. A quote closes where a letter could stand too:
        elsewhere it would open a string."""
        free = {mark for mark, token in self._marks.items() if allowed[token]}
        if {'"', "a"} <= free:
            return self._marks['"']
        return next((self._marks[mark] for mark in "}]," if mark in free), None)
