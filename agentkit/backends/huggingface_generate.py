"""Make one answer with a loaded model: in the caller's thread, told piece by piece, stopped when
asked. One answer at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agentkit.backends.base import Options
from agentkit.backends.huggingface_load import Loaded
from agentkit.backends.huggingface_prompt import TEMPLATE_OPTIONS, Prompt
from agentkit.backends.textcalls import MARKERS, settled


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer ended, and how long it is in tokens."""

    tokens: int
    reason: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Request:
    """What `generate` is asked for. Setting `stopped` ends it after the token at hand."""

    prompt: Prompt
    limit: int
    options: Options
    say: Callable[[str], None]
    stopped: threading.Event = field(default_factory=threading.Event)


def generate(loaded: Loaded, request: Request) -> Outcome:
    """Make the answer and return how it ended. Raises ModelError."""
    import torch
    import transformers

    streamer = _Streamer(loaded.tokenizer, request, _silent_tokens(loaded))
    if request.options.seed is not None:
        torch.manual_seed(request.options.seed)
    ids = request.prompt.ids.to(loaded.model.device)
    try:
        loaded.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=request.limit,
            pad_token_id=_pad_token(loaded),
            streamer=streamer,
            stopping_criteria=transformers.StoppingCriteriaList([_Stop(request.stopped)]),
            **_sampling(request.options),
        )
    except (RuntimeError, MemoryError, ValueError) as error:
        raise loaded.source.fault(
            f"{loaded.source.name} failed while it wrote ({error}). If memory ran out, shorten the "
            "prompt or choose a smaller model."
        ) from error
    full = streamer.count >= request.limit and not streamer.ended and not request.stopped.is_set()
    return Outcome(streamer.count, "length" if full else "stop")


class _Stop:
    """A stopping criterion, in the shape that transformers asks for."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped

    def __deepcopy__(self, memo: object) -> _Stop:
        return self

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        shape, device = (input_ids.shape[0],), input_ids.device
        return torch.full(shape, self._stopped.is_set(), dtype=torch.bool, device=device)


class _Streamer:
    """A streamer, in the shape that transformers asks for: tokens in, whole characters out, until
    a stop string. Tokens that mark the turn are left out, those that mark a call are kept."""

    def __init__(self, tokenizer: Any, request: Request, silent: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._request = request
        self._silent = silent
        self._ids: list[int] = []
        self._told = 0
        self._held = ""
        self._prompt_seen = False
        self.count = 0
        self.ended = False

    def put(self, tokens: Any) -> None:
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        for token in tokens.flatten().tolist():
            self.count += 1
            self.ended = token in self._silent
            if not self.ended:
                self._ids.append(token)
                self._say(self._new_text(), ended=False)

    def end(self) -> None:
        self._say(self._new_text(whole=False), ended=True)

    def _new_text(self, whole: bool = True) -> str:
        """What the last tokens add. Decoded with the ones before them, since a tokenizer may
        spell a token by its neighbours, or a character by several tokens."""
        before = self._decoded(self._ids[: self._told])
        text = self._decoded(self._ids)
        if whole and text.endswith("\ufffd"):
            return ""
        self._ids = self._ids[self._told :]
        self._told = len(self._ids)
        return text[len(before) :]

    def _decoded(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _say(self, text: str, ended: bool) -> None:
        if self._request.stopped.is_set():
            return
        text, stops = self._held + text, self._request.options.stop
        found = min((at for stop in stops if (at := text.find(stop)) >= 0), default=-1)
        if found >= 0:
            text, self._held, self.ended = text[:found], "", True
            self._request.stopped.set()
        else:
            text, self._held = settled(text, () if ended else stops)
        if text:
            self._request.say(text)


def _silent_tokens(loaded: Loaded) -> frozenset[int]:
    """The tokens that end a turn, and the special ones that are no part of a call."""
    ends = loaded.model.generation_config.eos_token_id
    tokenizer = loaded.tokenizer
    special = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=False)
    silent = {number for token, number in special if token not in MARKERS}
    return frozenset(silent | set(ends if isinstance(ends, list) else [ends]))


def _pad_token(loaded: Loaded) -> int | None:
    number: int | None = loaded.tokenizer.pad_token_id
    return number if number is not None else loaded.tokenizer.eos_token_id


def _sampling(options: Options) -> dict[str, Any]:
    extra = {key: value for key, value in options.extra.items() if key != TEMPLATE_OPTIONS}
    if options.temperature is None:
        return extra
    if options.temperature == 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, **extra}
    return {"do_sample": True, "temperature": options.temperature, **extra}
