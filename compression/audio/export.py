"""Writes the compact network as an ONNX file: weights int8 per output channel, activations float.

Standardisation is folded into the first operator and batch normalisation into the convolutions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from compression.audio.features import COEFFICIENTS, Floats
from compression.audio.model import CompactNet, SeparableBlock
from compression.audio.train import Scaling

INPUT, OUTPUT = "mfcc", "logits"
_IR_VERSION, _OPSET = 8, 13


def to_onnx(network: nn.Module, scaling: Scaling, bits: int) -> bytes:
    """The network as an ONNX model, ``mfcc`` float32 [clips, frames, 39] → ``logits`` [clips, classes].

    Args:
        network: a trained `CompactNet`.
        scaling: of its input.
        bits: 32, or 8 for int8 weights with a scale an output channel.

    Raises:
        ValueError: another network, or another number of bits.
    """
    if not isinstance(network, CompactNet) or bits not in (8, 32):
        raise ValueError("only a CompactNet of 8 or 32 bits is exported")
    graph = _Graph(bits)
    centred = graph.add("Sub", INPUT, graph.constant(scaling.mean))
    scaled = graph.add("Div", centred, graph.constant(scaling.deviation))
    x = graph.add("Transpose", scaled, perm=[0, 2, 1])
    x = graph.add("Relu", graph.convolve(x, *_folded(network.stem, network.stem_norm)))
    for block in network.blocks:
        assert isinstance(block, SeparableBlock)
        inner = graph.add("Relu", graph.convolve(x, *_folded(block.depthwise, block.depthwise_norm)))
        mixed = graph.convolve(inner, *_folded(block.pointwise, block.pointwise_norm))
        x = graph.add("Relu", graph.add("Add", x, mixed))
    first, _, last = network.scores
    assert isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d)
    scores = graph.convolve(graph.add("Tanh", graph.convolve(x, *_plain(first))), *_plain(last))
    shares = graph.add("Softmax", scores, axis=2)
    weighted = graph.add("Mul", shares, x)
    mean = graph.sum(weighted)
    square = graph.sum(graph.add("Mul", weighted, x))
    variance = graph.add("Sub", square, graph.add("Mul", mean, mean))
    deviation = graph.add("Sqrt", graph.add("Max", variance, graph.constant(np.array(1e-4, np.float32))))
    statistics = graph.add("Concat", mean, deviation, axis=1)
    graph.classify(statistics, _array(network.classifier.weight), _array(network.classifier.bias))
    return graph.serialised(network.classifier.out_features)


class _Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node of one output, whose name it gives."""
        from onnx import helper

        output = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, value: NDArray[Any]) -> str:
        """A stored tensor."""
        from onnx import numpy_helper

        name = f"c{len(self._tensors)}"
        self._tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(self, value: Floats) -> str:
        """A weight [out, …] in the graph's precision."""
        if self._bits == 32:
            return self.constant(value)
        largest = np.abs(value).reshape(len(value), -1).max(1)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        levels = np.rint(value / scale.reshape(-1, *[1] * (value.ndim - 1))).astype(np.int8)
        return self.add("DequantizeLinear", self.constant(levels), self.constant(scale), axis=0)

    def convolve(self, x: str, weight: Floats, bias: Floats, layer: nn.Conv2d) -> str:
        """A convolution along time."""
        padding, stride, dilation = (int(sizes[0]) for sizes in (layer.padding, layer.stride, layer.dilation))
        return self.add(
            "Conv", x, self.weight(weight), self.constant(bias), group=layer.groups, strides=[stride],
            dilations=[dilation], pads=[padding, padding],
        )  # fmt: skip

    def sum(self, x: str) -> str:
        """The sum over time."""
        return self.add("ReduceSum", x, self.constant(np.array([2], np.int64)), keepdims=0)

    def classify(self, x: str, weight: Floats, bias: Floats) -> None:
        """The last layer."""
        self.add("Gemm", x, self.weight(weight), self.constant(bias), transB=1)
        self._nodes[-1].output[0] = OUTPUT

    def serialised(self, classes: int) -> bytes:
        """The whole model, checked."""
        from onnx import TensorProto, checker, helper

        given = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["clips", "frames", COEFFICIENTS])
        wanted = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["clips", classes])
        graph = helper.make_graph(self._nodes, "speech-emotion", [given], [wanted], self._tensors)
        model = helper.make_model(
            graph,
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            producer_name="damso",
        )
        checker.check_model(model)
        content: bytes = model.SerializeToString()
        return content


def _folded(layer: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Floats, Floats, nn.Conv2d]:
    """A convolution without bias and its normalisation as one convolution."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = _array(norm.weight) / np.sqrt(_array(norm.running_var) + norm.eps)
    bias = _array(norm.bias) - gain * _array(norm.running_mean)
    return _array(layer.weight)[..., 0] * gain[:, None, None], bias.astype(np.float32), layer


def _plain(layer: nn.Conv2d) -> tuple[Floats, Floats, nn.Conv2d]:
    assert layer.bias is not None
    return _array(layer.weight)[..., 0], _array(layer.bias), layer


def _array(tensor: Tensor) -> Floats:
    return np.asarray(tensor.detach().float().numpy(), np.float32)
