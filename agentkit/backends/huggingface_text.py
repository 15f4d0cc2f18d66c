"""Tokens in, whole characters out, until a stop string. Tokens that mark a turn are left out, those
that mark a call are kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from agentkit.backends.text_tool_calls import MARKERS, settled


class TokenText:
    """The text of one answer. `stopped` once a stop string was found; it is not told."""

    def __init__(self, tokenizer: Any, stops: Sequence[str], silent: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._stops = tuple(stops)
        self._silent = silent
        self._ids: list[int] = []
        self._told = 0
        self._before = ""
        self._held = ""
        self.stopped = False

    def feed(self, token: int) -> str:
        """What the token adds that is certain now."""
        if token in self._silent:
            return ""
        self._ids.append(token)
        return self._until_stop(self._added(whole=True), ended=False)

    def end(self) -> str:
        """The rest."""
        return self._until_stop(self._added(whole=False), ended=True)

    def _added(self, whole: bool) -> str:
        """What the last tokens add. Decoded with the ones before them, since a tokenizer may
        spell a token by its neighbours, or a character by several tokens."""
        text = self._decoded(self._ids)
        if whole and text.endswith("\ufffd"):
            return ""
        added = text[len(self._before) :]
        self._ids = self._ids[self._told :]
        self._told = len(self._ids)
        self._before = self._decoded(self._ids)
        return added

    def _decoded(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _until_stop(self, text: str, ended: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        found = min((at for stop in self._stops if (at := text.find(stop)) >= 0), default=-1)
        if found >= 0:
            self.stopped, self._held = True, ""
            return text[:found]
        text, self._held = settled(text, () if ended else self._stops)
        return text


def silent_tokens(tokenizer: Any, ends: Collection[int]) -> frozenset[int]:
    """The tokens that end a turn, and the special ones that are no part of a call."""
    added = tokenizer.added_tokens_decoder.items()
    special = {number for number, token in added if token.special and str(token) not in MARKERS}
    return frozenset(special | set(ends))
