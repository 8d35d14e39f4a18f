"""Writes a network, up to one of its depths, as an ONNX file: 8-bit pixels in, 8-bit pixels out.

Weights are stored in half precision; the runtime widens them once, when it loads the file, and computes in single
precision. They came out of a training in bfloat16, so nothing is lost, and the file is half as large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from compression.vision.super_resolution.architecture import Architecture
from compression.vision.super_resolution.infer import INPUT, OUTPUT
from compression.vision.super_resolution.model import Network

_OPSET, _IR_VERSION = 18, 10
_MEAN = 0.45


def to_onnx(network: Network, depth: int | None = None) -> bytes:
    """A network as an ONNX model, uint8 [1, height, width, 3] → uint8 [1, height · scale, width · scale, 3].

    Args:
        network: to export.
        depth: the last block that runs; its own depth by default. One of ``network.architecture.depths``.

    Raises:
        ValueError: there is no picture at that depth.
    """
    shape = network.architecture
    depth = shape.blocks if depth is None else depth
    if depth not in shape.depths:
        raise ValueError(f"no picture after block {depth}, only after {shape.depths}")
    weights = {name: value.detach().float().cpu().numpy() for name, value in network.state_dict().items()}
    model: bytes = _Writer(shape, weights).write(depth).SerializeToString()
    return model


class _Writer:
    """The graph as it grows; every method adds nodes and gives the name of what they make."""

    def __init__(self, shape: Architecture, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._shape, self._weights = shape, weights
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []

    def write(self, depth: int) -> onnx.ModelProto:
        low = self._values("Mul", [self._pixels_in(), self._constant("to_unit", 1 / 255)])
        head = x = first = self._convolution(
            "head", self._values("Sub", [low, self._constant("mean", _MEAN)])
        )
        for number in range(depth):
            x = self._block(f"blocks.{number}", x)
            first = x if number == 0 else first
        self._pixels_out(self._tail(f"tails.{depth}", depth, head, first, x, low))
        graph = helper.make_graph(self._nodes, "sr", [_pixels(INPUT)], [_pixels(OUTPUT)], self._tensors)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
        )
        onnx.checker.check_model(model)
        return model

    def _block(self, name: str, x: str) -> str:
        if self._shape.kind == "edsr":
            inside = self._values("Relu", [self._convolution(f"{name}.first", x)])
            return self._values("Add", [x, self._convolution(f"{name}.second", inside)])
        inside = self._silu(self._convolution(f"{name}.first", x))
        out = self._convolution(f"{name}.third", self._silu(self._convolution(f"{name}.second", inside)))
        weight = self._values("Mul", [self._values("Sigmoid", [out]), self._constant("two", 2.0)])
        return self._values("Mul", [self._values("Add", [out, x]), weight])

    def _tail(self, name: str, depth: int, head: str, first: str, x: str, low: str) -> str:
        x = self._convolution(f"{name}.fuse", x)
        if self._shape.kind == "span":
            x = self._convolution(f"{name}.join", self._values("Concat", [head, first, x], axis=1))
        else:
            x = self._values("Add", [x, head])
        grow = 0
        while f"{name}.grow.{grow}.weight" in self._weights:
            step = self._step(f"{name}.grow.{grow}.weight")
            x = self._shuffled(self._convolution(f"{name}.grow.{grow}", x), step)
            grow += 1
        x = self._convolution(f"{name}.last", x)
        x = x if grow else self._shuffled(x, self._shape.scale)
        return self._values("Add", [x, self._repeated(low)])

    def _step(self, weight: str) -> int:
        outputs, inputs = self._weights[weight].shape[:2]
        return int((outputs // inputs) ** 0.5)

    def _silu(self, x: str) -> str:
        return self._values("Mul", [x, self._values("Sigmoid", [x])])

    def _shuffled(self, x: str, step: int) -> str:
        return self._values("DepthToSpace", [x], blocksize=step, mode="CRD")

    def _repeated(self, low: str) -> str:
        """The input enlarged by repeating its pixels."""
        scales = np.array([1, 1, self._shape.scale, self._shape.scale], np.float32)
        self._tensors.append(numpy_helper.from_array(scales, "scales"))
        settings = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        return self._values("Resize", [low, "", "scales"], **settings)

    def _convolution(self, name: str, x: str) -> str:
        parts = [self._weight(f"{name}.weight"), self._weight(f"{name}.bias")]
        side = self._weights[f"{name}.weight"].shape[2]
        return self._values("Conv", [x, *parts], kernel_shape=[side, side], pads=[side // 2] * 4)

    def _weight(self, name: str) -> str:
        half = self._weights[name].astype(np.float16)
        self._tensors.append(numpy_helper.from_array(half, f"{name}.half"))
        return self._values("Cast", [f"{name}.half"], to=TensorProto.FLOAT)

    def _pixels_in(self) -> str:
        return self._values(
            "Transpose", [self._values("Cast", [INPUT], to=TensorProto.FLOAT)], perm=[0, 3, 1, 2]
        )

    def _pixels_out(self, image: str) -> None:
        """In [0, 1] → rounded to 8 bits, halves up."""
        scaled = self._values("Mul", [image, self._constant("to_bytes", 255.0)])
        raised = self._values("Add", [scaled, self._constant("half_up", 0.5)])
        clipped = self._values("Clip", [raised, self._constant("least", 0.0), self._constant("most", 255.0)])
        whole = self._values("Cast", [clipped], to=TensorProto.UINT8)
        self._nodes.append(helper.make_node("Transpose", [whole], [OUTPUT], perm=[0, 2, 3, 1]))

    def _constant(self, name: str, value: float) -> str:
        if name not in {tensor.name for tensor in self._tensors}:
            self._tensors.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def _values(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name


def _pixels(name: str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.UINT8, [1, f"{name}_height", f"{name}_width", 3])
