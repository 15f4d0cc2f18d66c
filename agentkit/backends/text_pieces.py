"""Follow a text that comes in pieces: where it stands in code, and what its end may become."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence

from agentkit.events import ModelPart


async def with_stalls(
    parts: AsyncGenerator[ModelPart, None], is_holding: Callable[[], bool], patience: float
) -> AsyncGenerator[ModelPart | None, None]:
    """Yield the parts of an answer, and None where none follows for `patience` seconds while their
    reader holds text back."""
    while True:
        if is_holding():
            coming = asyncio.ensure_future(anext(parts, None))
            try:
                if not (await asyncio.wait({coming}, timeout=patience))[0]:
                    yield None
                part = await coming
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait({coming})
        else:
            part = await anext(parts, None)
        if part is None:
            return
        yield part


class CodeSpans:
    """Where the end of the text so far stands: in a code fence, or in backticks (`ticks`)."""

    def __init__(self) -> None:
        self._fence = ""
        self._is_fence_inline = False
        self._is_line_start = True
        self.ticks = ""

    @property
    def is_open(self) -> bool:
        return bool(self._fence or self.ticks)

    def feed(self, text: str) -> None:
        """Take a text that has at most one run of backticks or tildes, or one line break, and that
        at its end."""
        body = text.rstrip("`~") if text[-1:] in "`~" else text
        run = text[len(body) :]
        if "\n" in body:
            self.ticks = ""
            body = body.rpartition("\n")[2]
            self._is_line_start = True
        self._is_line_start = self._is_line_start and not body.strip()
        if run:
            self._toggle(run)
            self._is_line_start = False

    def _toggle(self, run: str) -> None:
        if self._fence:
            may_end = self._is_line_start or self._is_fence_inline
            if may_end and run[0] == self._fence[0] and len(run) >= len(self._fence):
                self._fence = ""
        elif len(run) >= 3 and (self._is_line_start or run[0] == "`"):
            self._fence, self._is_fence_inline = run, not self._is_line_start
        elif run[0] == "`":
            self.ticks = "" if run == self.ticks else self.ticks or run


class Trimmer:
    """Holds back white space, and `tokens` that end an answer, at the end of a text until more text
    follows, since they are not part of the answer at its end, or next to thinking or a call."""

    def __init__(self, tokens: Sequence[str] = (), *, trims_start: bool = False) -> None:
        self.trims_start = trims_start
        self.space = ""
        self.has_begun = False
        self._tokens = tokens

    def feed(self, text: str) -> str:
        text = self.space + text
        if self.trims_start and not self.has_begun:
            text = text.lstrip()
        body = text.rstrip()
        while token := next((one for one in self._tokens if body.endswith(one)), ""):
            body = body.removesuffix(token).rstrip()
        self.space = text[len(body) :]
        self.has_begun = self.has_begun or bool(body)
        return body


def without(text: str, tokens: Sequence[str]) -> str:
    """The text with all tokens removed."""
    for token in tokens:
        text = text.replace(token, "")
    return text


def partial_pattern(markers: Sequence[str], runs: str = "") -> re.Pattern[str]:
    """A pattern that finds the beginning of a marker, or a run of one of the characters `runs`, at
    the end of a text."""
    beginnings = sorted({_beginning(marker) for marker in markers})
    return re.compile(rf"(?:{'|'.join([*(f'{one}+' for one in runs), *beginnings])})\Z")


def _beginning(marker: str) -> str:
    pattern = ""
    for character in reversed(marker[:-1]):
        pattern = re.escape(character) + (f"(?:{pattern})?" if pattern else "")
    return pattern


def split_partial_marker(text: str, markers: Sequence[str]) -> tuple[str, str]:
    """Split off an end of the text that may be the beginning of a marker."""
    longest = max(map(len, markers), default=1) - 1
    for kept in range(min(longest, len(text)), 0, -1):
        if any(marker.startswith(text[-kept:]) for marker in markers):
            return text[:-kept], text[-kept:]
    return text, ""
