"""Placing and loading a model, and the errors of each."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentkit.backends.base import Model, Options
from agentkit.backends.huggingface.load import (
    Placement,
    Source,
    is_out_of_memory,
    load_model,
    quiet,
    resolve_source,
    weight_arguments,
)
from agentkit.backends.huggingface.model import HuggingFaceModel
from agentkit.backends.llamacpp import LlamaCppModel
from agentkit.backends.registry import get_model
from agentkit.errors import ConfigError, ModelError
from agentkit.messages import Message, Usage
from agentkit.settings.schema import ProviderSettings
from tests.backends.conftest import collected
from tests.backends.tiny_gguf import write_tiny_gguf

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

pytestmark = pytest.mark.slow
SOURCE = Source("hf:x", "x")


@pytest.mark.parametrize(
    ("placement", "line"),
    [
        (Placement(dtype="int3"), "Invalid dtype 'int3': choose one of auto, float32"),
        (Placement(quantization="2bit"), "Invalid quantization '2bit': choose one of none, 8bit"),
        (Placement(attention="fast"), "Invalid attention 'fast': choose one of auto, eager"),
        (Placement("cpu", quantization="4bit"), "needs a CUDA device.*'cpu'.*GGUF"),
    ],
)
def test_an_impossible_placement_is_refused(placement: Placement, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        weight_arguments(SOURCE, placement)


def test_on_a_cpu_weights_are_in_full_precision() -> None:
    assert weight_arguments(SOURCE, Placement("cpu", attention="eager")) == {
        "dtype": "float32",
        "device_map": {"": "cpu"},
        "attn_implementation": "eager",
    }


def test_a_map_of_devices_takes_the_place_of_one() -> None:
    placement = Placement("cpu", "bfloat16", device_map="auto")
    expected = {"dtype": "bfloat16", "device_map": "auto"}
    assert weight_arguments(SOURCE, placement) == expected


def test_the_settings_reach_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed")
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    settings = ProviderSettings(kind="hf", device="cpu", quantization="8bit")
    model = get_model(f"small:{path}", {"small": settings})
    assert isinstance(model, HuggingFaceModel)
    with pytest.raises(ConfigError, match="quantization = '8bit' needs a CUDA device"):
        load_model(resolve_source(str(path)), Placement("cpu", quantization=settings.quantization))


@pytest.mark.parametrize(
    ("error", "yes"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shapes do not fit"), False),
    ],
)
def test_out_of_memory_is_recognized_on_every_device(error: Exception, yes: bool) -> None:
    assert is_out_of_memory(error) is yes


def test_a_model_too_big_for_the_memory_says_what_to_do(
    smollm2_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_big(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", too_big)
    with pytest.raises(ModelError, match=r"does not fit into memory.*quantization = 4bit"):
        load_model(resolve_source(str(smollm2_folder)), Placement("cpu"))


def test_code_of_a_model_is_refused_by_default(tmp_path: Path) -> None:
    tmp_path.joinpath("config.json").write_text(
        '{"model_type": "strange", "auto_map": {"AutoConfig": "own.Own"}}', "utf-8"
    )
    tmp_path.joinpath("own.py").write_text("raise SystemExit('ran')", "utf-8")
    tmp_path.joinpath("model.safetensors").touch()
    with pytest.raises(ModelError, match=r"brings its own code.*trust_remote_code = true"):
        load_model(resolve_source(str(tmp_path)), Placement("cpu"))


def test_transformers_writes_nothing_to_the_terminal(smollm2_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed")
    models = [str(smollm2_folder), str(write_tiny_gguf(tmp_path / "tiny.gguf"))]
    script = f"""
import asyncio
from agentkit.backends.base import Model, Options
from agentkit.backends.huggingface.model import HuggingFaceModel
from agentkit.messages import Message
async def main():
    for name in {models!r}:
        model = HuggingFaceModel(name)
        async for part in model.stream([Message("user", "Hi")], (), Options(max_tokens=2)):
            pass
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_logging_of_transformers_is_restored() -> None:
    logging = transformers.utils.logging
    before = logging.get_verbosity()
    with quiet():
        with quiet():
            pass
        assert logging.get_verbosity() == logging.ERROR
        assert list(logging.tqdm([1, 2])) == [1, 2]
    assert logging.get_verbosity() == before
    assert logging.set_tqdm_hook(None) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("batching", [False, True])
@pytest.mark.parametrize("quantization", ["none", "8bit", "4bit"])
async def test_on_a_gpu_a_model_answers(
    smollm2_folder: Path, quantization: str, batching: bool
) -> None:
    if quantization != "none":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    placement = Placement("cuda", "bfloat16", quantization=quantization)
    model = HuggingFaceModel(str(smollm2_folder), placement=placement, batching=batching)
    options = Options(temperature=0.0, max_tokens=8)
    parts = await collected(model.stream([Message("user", "Name three colours.")], (), options))
    assert parts[-2] == Usage(34, 8)
    await model.close()


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
            ],
        ),
    ],
)
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
async def test_a_gguf_file_in_eight_or_four_bits_answers(
    tmp_path: Path, device: str, kind: str
) -> None:
    path = write_tiny_gguf(tmp_path / "tiny.gguf", quantization=kind)
    models: list[Model] = [HuggingFaceModel(str(path), placement=Placement(device))]
    if importlib.util.find_spec("xllamacpp"):
        models.append(LlamaCppModel(str(path), threads=1))
    for model in models:
        options = Options(temperature=0.0, max_tokens=4)
        parts = await collected(model.stream([Message("user", "abc")], (), options))
        assert isinstance(parts[-2], Usage)
        assert parts[-2].output_tokens in range(1, 5)
        await model.close()


def test_a_missing_device_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no device 'npu'.*cpu"):
        load_model(Source("hf:x", str(tmp_path)), Placement("npu"))


def test_an_unknown_dtype_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Invalid dtype 'int3'.*bfloat16"):
        load_model(Source("hf:x", str(tmp_path)), Placement("cpu", "int3"))


def test_damaged_weights_are_named(smollm2_folder: Path, tmp_path: Path) -> None:
    for file in smollm2_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:1_000_000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(resolve_source(str(tmp_path)), Placement("cpu"))


def test_a_gguf_file_cut_in_half_is_named(smollm2_gguf: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.gguf"
    half.write_bytes(smollm2_gguf.read_bytes()[:1_000_000])
    with pytest.raises(ModelError, match=r"cannot be loaded.*Download it again"):
        load_model(resolve_source(str(half)), Placement("cpu"))
