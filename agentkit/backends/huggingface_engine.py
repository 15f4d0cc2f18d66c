"""Answer several chats with one model: in a thread of its own, all in one pass, new ones joining
between two steps.

Device-agnostic and tried on a processor only. Where transformers' own continuous batching (paged,
for CUDA) proves better on a GPU, it takes the place of Engine, behind `submit`: unproven here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agentkit.backends.huggingface_batch import Batch, KeptSequence
from agentkit.backends.huggingface_forward import Forward
from agentkit.backends.huggingface_load import Loaded, out_of_memory
from agentkit.backends.huggingface_quiet import quiet
from agentkit.backends.huggingface_row import Request, Row
from agentkit.backends.huggingface_text import silent_tokens
from agentkit.errors import ModelError

PREFILL_TOKENS = 512
"""Tokens of prompts that are read between two steps, so that a long one does not hold up all."""

GATHER_SECONDS = 0.004
"""How long an engine that had nothing to do waits for more chats to begin with the first."""

_ALIKE = 0.7
"""How long one prompt is of another, at least, for both to be read in one pass."""


class Engine:
    """Takes requests from any thread. At most `rows` share a pass, the others wait. `kept_tokens`
    bounds the sequence that is kept for a chat's next turn; 0 keeps none."""

    def __init__(self, loaded: Loaded, rows: int = 8, kept_tokens: int = 8192) -> None:
        self.loaded = loaded
        self.forward = Forward(loaded)
        self._rows = rows if self.forward.joinable else 1
        self._kept = KeptSequence(kept_tokens if self.forward.joinable else 0)
        self._batch: Batch[Row] = Batch(self.forward)
        self._silent = silent_tokens(loaded.tokenizer, loaded.ends)
        self._waiting: deque[Request] = deque()
        self._joining: list[Row] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="huggingface")

    def submit(self, request: Request) -> None:
        """Have the request answered. Raises ModelError once it is closed."""
        self._waiting.append(request)
        try:
            self._thread.submit(self._work)
        except RuntimeError as error:
            name = self.loaded.source.name
            raise self.loaded.source.fault(f"{name} was closed: ask it again.") from error

    def close(self) -> None:
        """Take no more requests; those at hand are answered to their end."""
        self._thread.shutdown(wait=False)

    def _work(self) -> None:
        """Go on until nobody waits. Runs in the engine's thread, as all below."""
        import torch

        if self._waiting:
            time.sleep(GATHER_SECONDS)
        with torch.inference_mode(), quiet():
            while self._waiting or self._joining or self._batch.rows:
                try:
                    self._turn()
                except Exception as error:
                    self._give_up(error)

    def _turn(self) -> None:
        """Let go who is gone, take in who waits, read of their prompts, and make one step."""
        self._leave([row for row in self._batch.rows if row.gone])
        self._joining = [row for row in self._joining if not row.gone]
        self._take_in()
        self._read()
        if self._batch.rows:
            self._deal(self._batch.rows, self._batch.step())

    def _take_in(self) -> None:
        while self._waiting and len(self._joining) + len(self._batch.rows) < self._rows:
            request = self._waiting.popleft()
            try:
                row = Row(self.loaded, request, self._silent)
            except Exception as error:
                request.say(self._fault(error))
            else:
                self._joining.append(row)

    def _read(self) -> None:
        """Read of the prompts, in turn; those at their end join the batch and get a token."""
        budget = PREFILL_TOKENS
        while self._joining and budget > 0:
            rows = self._alike(budget)
            before = self.forward.prefilled
            try:
                scores = self._read_of(rows, budget)
                whole = all(row.read == len(row.ids) for row in rows)
                if whole:
                    self._batch.join(rows, rows[0].cache)
                    rows[0].cache = None
            except Exception as error:
                self._dismiss(rows, error)
                continue
            budget -= self.forward.prefilled - before
            if whole:
                self._joining = [row for row in self._joining if row not in rows]
                self._deal(rows, scores)

    def _alike(self, budget: int) -> list[Row]:
        """The next row to read of, and those that can be read in the same pass."""
        first = self._joining[0]
        size = len(first.ids)
        if first.read or size > budget or not self.forward.joinable:
            return [first]
        fresh = [row for row in self._joining if not row.read and len(row.ids) <= size]
        near = [row for row in fresh if len(row.ids) >= _ALIKE * size]
        return near[: budget // size]

    def _read_of(self, rows: Sequence[Row], budget: int) -> Any:
        """Scores after a part of the rows' prompts; of several rows, or for a model that keeps a
        state, after all of it."""
        first = rows[0]
        if first.cache is None:
            cache, first.read = self._kept.take(first.ids) if self._is_alone else (None, 0)
            first.cache = cache or self.forward.new_cache()
        length = first.read
        end = length + budget if self.forward.joinable else None
        parts = [row.ids[length:end] for row in rows]
        scores = self.forward.prefill(parts, first.cache, length)
        for row, part in zip(rows, parts, strict=True):
            row.read += len(part)
        return scores

    @property
    def _is_alone(self) -> bool:
        return len(self._joining) + len(self._batch.rows) + len(self._waiting) == 1

    def _deal(self, rows: Sequence[Row], scores: Any) -> None:
        """Give each row its next token; those that end leave."""
        if all(row.greedy for row in rows):
            tokens: list[int | None] = scores.argmax(dim=-1).tolist()
        else:
            tokens = self._chosen(rows, scores)
        given = list(zip(rows, tokens, strict=True))
        self._leave([row for row, token in given if token is None or row.take(token)])

    def _chosen(self, rows: Sequence[Row], scores: Any) -> list[int | None]:
        """Each row's token by its own options; None where that failed, which the row is told."""
        tokens: list[int | None] = []
        for at, row in enumerate(rows):
            try:
                tokens.append(int(row.choose(scores[at : at + 1])))
            except Exception as error:
                row.request.say(self._fault(error))
                tokens.append(None)
        return tokens

    def _leave(self, rows: Sequence[Row]) -> None:
        """Let rows go; the sequence of the last one is kept."""
        if rows and len(self._batch.rows) == 1:
            self._kept.keep(rows[0].ids[: self._batch.length], self._batch.cache)
        self._batch.leave(rows)

    def _give_up(self, error: Exception) -> None:
        """A step failed: all that took part in it have failed."""
        self._dismiss([*self._batch.rows, *self._joining], error)
        self._batch.clear()
        self._kept.drop()

    def _dismiss(self, rows: Sequence[Row], error: Exception) -> None:
        for row in rows:
            row.request.say(self._fault(error))
        self._joining = [row for row in self._joining if row not in rows]

    def _fault(self, error: Exception) -> ModelError:
        if isinstance(error, ModelError):
            return error
        source = self.loaded.source
        if out_of_memory(error):
            return source.fault(
                f"Memory ran out while {source.name} wrote. Shorten the prompt, choose a smaller "
                "model, or set quantization = 4bit (CUDA) or a smaller max_batch for its provider."
            )
        said = f"{type(error).__name__}: {error}"
        return source.fault(f"{source.name} failed while it wrote ({said}).")
