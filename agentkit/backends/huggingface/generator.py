"""Generate answers by transformers' own `generate`, one at a time, in a thread.

On a CUDA device plain requests share passes instead, by transformers' continuous batching.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from agentkit.backends.base import Options
from agentkit.backends.huggingface.grammar import Constraint, Grammars
from agentkit.backends.huggingface.load import LoadedModel, is_out_of_memory, quiet
from agentkit.backends.huggingface.prompt import TEMPLATE_OPTIONS
from agentkit.backends.text_pieces import split_partial_marker
from agentkit.backends.text_tool_calls import MARKERS
from agentkit.errors import ModelError


@dataclass(frozen=True, slots=True)
class GenerationEnd:
    """How an answer ended, and its length in tokens."""

    tokens: int
    reason: Literal["stop", "length"]


class _Cancelled(Exception):
    """The answer was cancelled while its prompt was read."""


class Generation:
    """One answer: what is asked of the model, and its tokens as text.

    `emit` gets each piece of text, and last a GenerationEnd or a ModelError; it is called in a
    thread of the generator. Setting `cancelled` ends it at its next token, without a last piece.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        ids: Sequence[int],
        limit: int,
        options: Options,
        emit: Callable[[str | GenerationEnd | ModelError], None],
        constraint: Constraint | None = None,
    ) -> None:
        self.ids = list(ids)
        self.limit = limit
        self.options = options
        self.constraint = constraint
        self.cancelled = threading.Event()
        self.tokens = 0
        self._loaded = loaded
        self._emit = emit
        self._text = _TokenText(loaded, options.stop)
        self._end: GenerationEnd | None = None

    def take(self, token: int) -> bool:
        """Add a token and emit its text. Returns whether the answer has ended."""
        if self._end is not None or self.cancelled.is_set():
            return True
        self.tokens += 1
        complete = self.constraint is not None and self.constraint.accept(token)
        text = self._text.feed(token)
        stopped = complete or self._text.stopped or token in self._loaded.end_tokens
        if stopped or self.tokens >= self.limit:
            self._end = GenerationEnd(self.tokens, "stop" if stopped else "length")
            text += self._text.end()
        if text:
            self._emit(text)
        return self._end is not None

    def finish(self) -> None:
        """Emit the end, unless the answer was cancelled before it had one."""
        if self._end is not None:
            self._emit(self._end)

    def check_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise _Cancelled

    def fail(self, error: Exception) -> None:
        """Emit an error in place of the end."""
        source = self._loaded.source
        text = f"{source.name} failed to generate ({type(error).__name__}: {error})."
        if is_out_of_memory(error):
            text = (
                f"Memory ran out while {source.name} was generating. Shorten the prompt, choose a "
                "smaller model, or set quantization = 4bit (CUDA) or a smaller max_batch."
            )
        self._emit(source.error(text))


class _TokenText:
    """Turn tokens into whole characters, up to a stop string. Tokens that end a turn are left out;
    special tokens that mark a tool call are kept."""

    def __init__(self, loaded: LoadedModel, stops: Sequence[str]) -> None:
        self._tokenizer = loaded.tokenizer
        self._stops = tuple(stops)
        special = loaded.tokenizer.added_tokens_decoder.items()
        self._hidden = {
            number for number, token in special if token.special and str(token) not in MARKERS
        } | loaded.end_tokens
        self._ids: list[int] = []
        self._decoded_ids = 0
        self._context = ""
        self._pending = ""
        self.stopped = False

    def feed(self, token: int) -> str:
        """Return the text that the token completes."""
        if token in self._hidden:
            return ""
        self._ids.append(token)
        text = self._decode(self._ids)
        if text.endswith("\ufffd"):
            return ""
        return self._before_stop(self._advance(text), self._stops)

    def end(self) -> str:
        """Return the rest."""
        return self._before_stop(self._advance(self._decode(self._ids)), ())

    def _advance(self, text: str) -> str:
        """Return what the last tokens add to the text. They are decoded with the ones before them,
        since a tokenizer may spell a token by its neighbours."""
        added = text[len(self._context) :]
        self._ids = self._ids[self._decoded_ids :]
        self._decoded_ids = len(self._ids)
        self._context = self._decode(self._ids)
        return added

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _before_stop(self, text: str, held_back: Sequence[str]) -> str:
        if self.stopped:
            return ""
        text = self._pending + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._pending = True, ""
            return text[: min(found)]
        text, self._pending = split_partial_marker(text, held_back)
        return text


_SAMPLING = ("top_k", "top_p", "min_p")
_PENALTIES = ("repetition_penalty", "no_repeat_ngram_size")
_OPTIONS = (*_PENALTIES, *_SAMPLING, "logits_processor", TEMPLATE_OPTIONS)

_PREFILL_TOKENS = 512
"""Tokens of the prompt that are read between two checks for cancellation."""

_KEY_VALUE_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


class Generator:
    """Generate answers with one model, in the order in which they are submitted.

    `kept_tokens` bounds the sequence whose cache is kept for a chat's next turn; 0 keeps none. With
    `batching`, at most `max_batch` plain answers share a pass of continuous batching.
    """

    def __init__(
        self, loaded: LoadedModel, max_batch: int, kept_tokens: int, batching: bool
    ) -> None:
        self.loaded = loaded
        self.grammars = Grammars(loaded)
        self._croppable = _is_croppable(loaded.model)
        self._kept_tokens = kept_tokens if self._croppable else 0
        self._kept: tuple[list[int], Any] = ([], None)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="huggingface")
        self._batching = _Batching(loaded, max_batch) if batching and self._croppable else None
        self.prefilled_tokens = 0

    def submit(self, generation: Generation) -> None:
        """Queue an answer. Raises ModelError once the generator is closed."""
        try:
            self._thread.submit(self._run, generation)
        except RuntimeError as error:
            source = self.loaded.source
            raise source.error(f"{source.name} was closed: ask again.") from error

    def close(self) -> None:
        """Accept no more answers; those queued are still generated."""
        if self._batching is not None:
            self._thread.submit(self._batching.stop)
        self._thread.shutdown(wait=False)

    def _run(self, generation: Generation) -> None:
        try:
            generation.check_cancelled()
            settings = _generation_settings(self.loaded, generation.options)
            if self._batching is not None and _is_plain(generation, settings):
                self._batching.add(generation, settings)
            else:
                self._generate(generation, settings)
        except _Cancelled:
            pass
        except Exception as error:
            generation.fail(error)

    def _generate(self, generation: Generation, settings: dict[str, Any]) -> None:
        import torch

        model = self.loaded.model
        ids = torch.tensor([generation.ids], device=model.device)
        if self._croppable:
            settings |= {
                "past_key_values": self._take_cache(generation.ids),
                "prefill_chunk_size": _PREFILL_TOKENS,
                "cache_implementation": None,
            }
        processors = list(generation.options.extra.get("logits_processor") or ())
        if generation.constraint is not None:
            processors.append(generation.constraint)
        with ExitStack() as stack:
            stack.enter_context(quiet())
            if self._batching is not None:
                stack.enter_context(self._batching.paused())
            if generation.options.seed is not None:
                gpus = [model.device] if model.device.type == "cuda" else []
                stack.enter_context(torch.random.fork_rng(gpus))
                torch.manual_seed(generation.options.seed % 2**63)
            hook = model.register_forward_pre_hook(lambda *_: generation.check_cancelled())
            stack.callback(hook.remove)
            output = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=generation.limit,
                eos_token_id=sorted(self.loaded.end_tokens) or None,
                pad_token_id=0,
                num_beams=1,
                logits_processor=processors,
                stopping_criteria=[_token_reader(generation)],
                return_dict_in_generate=True,
                **settings,
            )
        sequence = output.sequences[0, :-1].tolist()
        if len(sequence) <= self._kept_tokens:
            self._kept = (sequence, output.past_key_values)
        generation.finish()

    def _take_cache(self, ids: Sequence[int]) -> Any:
        """Return a cache that holds the longest common beginning of `ids` and the kept sequence. At
        least one token is left to be read."""
        import transformers

        (kept, cache), self._kept = self._kept, ([], None)
        pairs = enumerate(zip(kept, ids[:-1], strict=False))
        same = next((at for at, (a, b) in pairs if a != b), min(len(kept), len(ids) - 1))
        self.prefilled_tokens += len(ids) - same
        if same == 0:
            # Without the model's configuration every layer keeps all tokens, and can be cropped.
            return transformers.DynamicCache()
        cache.crop(same - len(kept))
        return cache


class _Batching:
    """Continuous batching of transformers, started at the first answer.

    It polls one queue of results: its handlers per request all run in the event loop of one of
    them.
    """

    def __init__(self, loaded: LoadedModel, max_batch: int) -> None:
        self._loaded = loaded
        self._max_batch = max_batch
        self._manager: Any = None
        self._generations: dict[str, Generation] = {}
        self._number = 0

    def add(self, generation: Generation, settings: Mapping[str, Any]) -> None:
        """Generate the answer beside those in progress."""
        if self._manager is None or not self._manager.is_running():
            self._start()
        self._number += 1
        name = str(self._number)
        self._generations[name] = generation
        # Every request samples there: with one candidate it takes the best token.
        sampled = settings["do_sample"]
        vocabulary = self._loaded.model.config.get_text_config().vocab_size
        added = self._manager.add_request(
            generation.ids,
            request_id=name,
            max_new_tokens=generation.limit,
            streaming=True,
            eos_token_id=sorted(self._loaded.end_tokens) or -1,
            temperature=settings["temperature"] if sampled else 1.0,
            top_k=min(settings["top_k"] or vocabulary, vocabulary) if sampled else 1,
            top_p=float(settings["top_p"] or 1.0) if sampled else 1.0,
        )
        if added is None:
            del self._generations[name]
            raise RuntimeError("continuous batching has stopped")

    def paused(self) -> AbstractContextManager[None]:
        """Return a context in which the model is free for others."""
        running = self._manager is not None and self._manager.is_running()
        context: AbstractContextManager[None] = self._manager.pause() if running else nullcontext()
        return context

    def stop(self) -> None:
        """Finish the answers in progress and free the cache."""
        if self._manager is not None and self._manager.is_running():
            self._manager.stop()

    def _start(self) -> None:
        import transformers

        # Only what has a value here can be set for each request.
        defaults = transformers.GenerationConfig(
            do_sample=True, temperature=0.5, top_k=1, top_p=0.5, max_new_tokens=1, eos_token_id=-1
        )
        # A pass without CUDA graphs can be paused for `generate`. Flash attention is taken only
        # where it is installed: otherwise transformers would download a kernel.
        config = transformers.ContinuousBatchingConfig(
            max_requests_per_batch=self._max_batch,
            per_request_processors=True,
            use_cuda_graph=False,
            use_async_batching=False,
            max_memory_percent=0.5 if self._loaded.model.device.type == "cuda" else 0.02,
            auto_switch_to_flash=find_spec("flash_attn") is not None,
        )
        # Its errors come with the results.
        logging.getLogger("ContinuousBatchingLogger").setLevel(logging.CRITICAL)
        with quiet():
            self._manager = self._loaded.model.init_continuous_batching(defaults, config)
        self._generations = {}
        # Its thread inherits this: the interpreter must not wait for it at exit.
        starter = threading.Thread(target=self._manager.start, daemon=True)
        starter.start()
        starter.join()
        arguments = (self._manager, self._generations)
        threading.Thread(target=self._deliver, args=arguments, daemon=True).start()

    def _deliver(self, manager: Any, generations: dict[str, Generation]) -> None:
        """Pass on results until the manager stops."""
        for result in manager:
            self._pass_on(manager, generations, result)
        while (result := manager.get_result(timeout=0.0)) is not None:
            self._pass_on(manager, generations, result)
        while generations:
            _, generation = generations.popitem()
            generation.fail(RuntimeError("continuous batching stopped"))

    def _pass_on(self, manager: Any, generations: dict[str, Generation], result: Any) -> None:
        generation = generations.get(result.request_id)
        if generation is None:
            return
        finished = result.is_finished()
        try:
            ended = any(
                generation.take(token) for token in result.generated_tokens[generation.tokens :]
            )
            if ended:
                generation.finish()
            elif finished:
                generation.fail(RuntimeError(result.error or "the answer is incomplete"))
        except Exception as error:
            generation.fail(error)
            ended = True
        if ended or finished:
            generations.pop(result.request_id, None)
        if ended and not finished:
            manager.cancel_request(result.request_id)


def check_options(loaded: LoadedModel, options: Options) -> None:
    """Raise ModelError where `extra` has an option that is not supported."""
    if unknown := sorted(set(options.extra) - set(_OPTIONS)):
        raise loaded.source.error(
            f"{loaded.source.name} does not support the option {', '.join(unknown)}: "
            f"use {', '.join(_OPTIONS)}."
        )


def _generation_settings(loaded: LoadedModel, options: Options) -> dict[str, Any]:
    """Return the sampling arguments of `generate`: what is asked, else what the model came with."""
    own = loaded.model.generation_config
    settings = {name: getattr(own, name, None) for name in (*_PENALTIES, *_SAMPLING)}
    settings |= {name: options.extra[name] for name in settings.keys() & options.extra.keys()}
    temperature = options.temperature
    if temperature is None:
        temperature = float(own.temperature or 1.0) if own.do_sample else 0.0
    sampled = temperature > 0 and math.isfinite(temperature)
    settings |= {"do_sample": sampled, "top_k": settings["top_k"] or 0}
    if sampled:
        return settings | {"temperature": float(temperature)}
    return settings | dict.fromkeys(("temperature", *_SAMPLING))


def _is_plain(generation: Generation, settings: Mapping[str, Any]) -> bool:
    """Whether continuous batching can generate it: there a request has no penalties, grammar,
    min_p or seed of its own."""
    penalized = (
        settings["repetition_penalty"] not in (None, 1.0) or settings["no_repeat_ngram_size"]
    )
    processed = generation.constraint or generation.options.extra.get("logits_processor")
    return not (penalized or processed or settings["min_p"] or generation.options.seed is not None)


def can_batch(loaded: LoadedModel) -> bool:
    """Whether continuous batching pays (a CUDA device) and leaves the model as `generate` needs it:
    on one device, and with an attention that both can use."""
    model = loaded.model
    devices = set(getattr(model, "hf_device_map", {}).values())
    attention = str(model.config._attn_implementation)
    shared = attention == "sdpa" or attention.startswith("flash")
    return model.device.type == "cuda" and len(devices) <= 1 and shared


def _is_croppable(model: Any) -> bool:
    """Whether the model's cache holds keys and values only. A state (Mamba, Qwen3-Next) cannot be
    cut back to an earlier token."""
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    return not getattr(model, "_is_stateful", False) and kinds <= _KEY_VALUE_LAYERS


def _token_reader(generation: Generation) -> Any:
    """Return a stopping criterion that hands each token to the answer. A streamer would get a token
    only after the criteria were asked."""
    import torch
    import transformers

    class TokenReader(transformers.StoppingCriteria):  # type: ignore[misc]
        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            ended = generation.take(int(input_ids[0, -1]))
            return torch.full((1,), ended, device=input_ids.device, dtype=torch.bool)

    return TokenReader()
