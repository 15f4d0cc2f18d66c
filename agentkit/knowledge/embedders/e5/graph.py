"""Build the encoder of the e5 model as an ONNX graph for one window: embedded tokens in, the last
layer's token vectors and their mean out.

Two forms of the same weights. `float_graph` keeps their 4 bits and computes in 32. `byte_graph`
multiplies bytes: less than half the time where the processor has instructions for it, and about
0.0003 off in cosine. Building needs `onnx`; running what was built does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agentkit.knowledge.embedders.e5.model_file import BLOCK, E5Weights, Floats

if TYPE_CHECKING:
    import onnx

VERSION = 2
_MICROSOFT = "com.microsoft"
_BYTE = 127.0
_SMOOTHING = 0.7
_GELU_ZERO = 16
_GELU_LEAST = 0.17


class _Multiplier(Protocol):
    """Adds multiplications by named matrices, and their biases, to a graph."""

    def spread(self, x: str, names: Sequence[str]) -> list[str]:
        """Several matrices on one layer-normalised input."""
        ...

    def joined(self, x: str, name: str) -> str:
        """The attention's output matrix."""
        ...

    def narrowed(self, x: str, name: str) -> str:
        """The matrix that follows the gelu."""
        ...


def float_graph(weights: E5Weights, with_peaks: bool = False) -> bytes:
    """4-bit weights, 32-bit arithmetic. `with_peaks` adds an output `NAME.peak` for each input
    that `byte_graph` smooths: the largest magnitude of each channel, (width,)."""
    graph = _Graph(weights)
    return _encoder(graph, _FloatMultiplier(graph, with_peaks))


def byte_graph(weights: E5Weights, peaks: Mapping[str, Floats]) -> bytes:
    """8-bit weights and activations; `peaks` are those outputs of `float_graph`, by name."""
    graph = _Graph(weights)
    return _encoder(graph, _ByteMultiplier(graph, peaks))


def _encoder(graph: _Graph, multiplier: _Multiplier) -> bytes:
    x = graph.layer_norm("embedded", "emb.ln")
    for layer in range(graph.weights.shape.layers):
        x = _layer(graph, multiplier, x, f"l{layer}.")
    graph.node("Identity", x, out="states")
    graph.node("ReduceMean", x, graph.array("second_axis", np.array([1])), out="mean", keepdims=0)
    return graph.serialized()


def _layer(graph: _Graph, multiplier: _Multiplier, x: str, layer: str) -> str:
    parts = multiplier.spread(x, [f"{layer}{part}" for part in ("q", "k", "v")])
    heads = graph.weights.shape.heads
    context = graph.node("MultiHeadAttention", *parts, domain=_MICROSOFT, num_heads=heads)
    attended = multiplier.joined(context, f"{layer}ao")
    x = graph.layer_norm(graph.node("Add", x, attended), f"{layer}aln")
    (wide,) = multiplier.spread(x, [f"{layer}fi"])
    narrow = multiplier.narrowed(graph.node("Gelu", wide, domain=_MICROSOFT), f"{layer}fo")
    return graph.layer_norm(graph.node("Add", x, narrow), f"{layer}oln")


@dataclass
class _Graph:
    """The nodes and arrays so far; a node's output is named by its number."""

    weights: E5Weights
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    arrays: dict[str, onnx.TensorProto] = field(default_factory=dict)
    peaks: list[str] = field(default_factory=list)

    def node(self, kind: str, *inputs: str, out: str = "", domain: str = "", **options: Any) -> str:
        from onnx import helper

        name = out or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, **options))
        return name

    def array(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        if name not in self.arrays:
            self.arrays[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def vector(self, name: str) -> str:
        return self.array(name, self.weights.vector(name))

    def layer_norm(self, x: str, name: str) -> str:
        scale, bias = self.vector(f"{name}.w"), self.vector(f"{name}.b")
        epsilon = self.weights.shape.epsilon
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def outputs(self, name: str) -> int:
        return len(self.weights.vector(f"{name}.b"))

    def serialized(self) -> bytes:
        """The model as a file. Arrays follow it one by one, as parsers merge repeated messages:
        copying them all at once would hold Python's lock for 50 ms."""
        from onnx import GraphProto, ModelProto, TensorProto, helper

        kind, width = TensorProto.FLOAT, self.weights.shape.width
        taken = [helper.make_tensor_value_info("embedded", kind, [1, "tokens", width])]
        given = [helper.make_tensor_value_info("mean", kind, [1, width])]
        given += [helper.make_tensor_value_info("states", kind, [1, "tokens", width])]
        given += [helper.make_tensor_value_info(name, kind, [width]) for name in self.peaks]
        graph = helper.make_graph(self.nodes, "e5", taken, given)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(_MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        arrays = (ModelProto(graph=GraphProto(initializer=[each])) for each in self.arrays.values())
        return b"".join(each.SerializeToString() for each in (model, *arrays))


class _FloatMultiplier:
    """MatMulNBits over the blocks of the file, their nibbles in onnxruntime's order."""

    def __init__(self, graph: _Graph, with_peaks: bool) -> None:
        self._graph = graph
        self._with_peaks = with_peaks

    def spread(self, x: str, names: Sequence[str]) -> list[str]:
        if self._with_peaks:
            self._peak(x, f"{names[0]}.peak")
        return [self.joined(x, name) for name in names]

    def joined(self, x: str, name: str) -> str:
        graph, outputs = self._graph, self._graph.outputs(name)
        scales, values = graph.weights.blocks(f"{name}.w", outputs)
        packed = (values[:, 0::2] | values[:, 1::2] << 4).reshape(outputs, -1, BLOCK // 2)
        arrays = graph.array(f"{name}.w", packed), graph.array(f"{name}.scales", scales)
        sizes = {"K": values.shape[1], "N": outputs, "bits": 4, "block_size": BLOCK}
        found = graph.node("MatMulNBits", x, *arrays, domain=_MICROSOFT, **sizes)
        return graph.node("Add", found, graph.vector(f"{name}.b"))

    def narrowed(self, x: str, name: str) -> str:
        return self.joined(x, name)

    def _peak(self, x: str, name: str) -> None:
        axes = self._graph.array("first_axes", np.array([0, 1]))
        self._graph.node("ReduceMax", self._graph.node("Abs", x), axes, out=name, keepdims=0)
        self._graph.peaks.append(name)


class _ByteMultiplier:
    """Signed bytes for the weights, a scale per output; unsigned bytes for what comes in."""

    def __init__(self, graph: _Graph, peaks: Mapping[str, Floats]) -> None:
        self._graph = graph
        self._peaks = peaks
        self._one = graph.array("one", np.array(1, np.float32))
        self._last = graph.array("last_axis", np.array([-1]))

    def spread(self, x: str, names: Sequence[str]) -> list[str]:
        """A few channels of the layer norms are twenty times as loud as the rest: their loudness
        moves into the weights. Source: SmoothQuant, https://arxiv.org/abs/2211.10438, eq. 4."""
        matrices = [self._matrix(name) for name in names]
        loudest = np.abs(np.concatenate(matrices)).max(axis=0)
        peaks = self._peaks[f"{names[0]}.peak"]
        factors = peaks**_SMOOTHING / np.maximum(loudest, 1e-6) ** (1 - _SMOOTHING)
        factors = np.maximum(factors, 1e-6).astype(np.float32)
        smooth = self._graph.array(f"{names[0]}.smooth", 1 / factors)
        x = self._graph.node("Mul", x, smooth)
        pairs = zip(matrices, names, strict=True)
        return [self._multiplied(x, matrix * factors, name) for matrix, name in pairs]

    def joined(self, x: str, name: str) -> str:
        return self._multiplied(x, self._matrix(name), name)

    def narrowed(self, x: str, name: str) -> str:
        """A token's loudness after the gelu varies too much for one scale: each has its own. The
        gelu never falls below -0.17, so little of the range is kept for what is negative."""
        graph = self._graph
        step, zeros = self._step(x), self._gelu_zeros()
        steps = graph.node("Reshape", step, self._last)
        taken = graph.node("QuantizeLinear", x, steps, zeros, axis=1)
        weights, scales = self._weights(self._matrix(name), name)
        zero = graph.array("gelu_zero", np.array(_GELU_ZERO, np.uint8))
        inputs = (taken, weights, self._one, scales, zero)
        found = graph.node("MatMulIntegerToFloat", *inputs, domain=_MICROSOFT)
        return graph.node("Add", graph.node("Mul", found, step), graph.vector(f"{name}.b"))

    def _step(self, x: str) -> str:
        """What one step of a byte is worth, for each token: (1, tokens, 1)."""
        graph = self._graph
        share = graph.array("gelu_share", np.array(1 / (255 - _GELU_ZERO), np.float32))
        least = graph.array("gelu_step", np.array(_GELU_LEAST / _GELU_ZERO, np.float32))
        most = graph.node("ReduceMax", x, self._last, keepdims=1)
        return graph.node("Max", graph.node("Mul", most, share), least)

    def _gelu_zeros(self) -> str:
        from onnx import TensorProto, helper

        tokens = self._graph.node("Shape", "embedded", start=1, end=2)
        value = helper.make_tensor("zero", TensorProto.UINT8, [1], [_GELU_ZERO])
        return self._graph.node("ConstantOfShape", tokens, value=value)

    def _multiplied(self, x: str, matrix: Floats, name: str) -> str:
        weights, scales = self._weights(matrix, name)
        inputs = (x, weights, scales, "", self._graph.vector(f"{name}.b"))
        return self._graph.node("DynamicQuantizeMatMul", *inputs, domain=_MICROSOFT)

    def _weights(self, matrix: Floats, name: str) -> tuple[str, str]:
        scales = np.maximum(np.abs(matrix).max(axis=1), 1e-12) / _BYTE
        rounded = np.rint(matrix / scales[:, None]).astype(np.int8)
        weights = self._graph.array(f"{name}.w", rounded.T)
        return weights, self._graph.array(f"{name}.scales", scales.astype(np.float32))

    def _matrix(self, name: str) -> Floats:
        return self._graph.weights.matrix(f"{name}.w", self._graph.outputs(name))
