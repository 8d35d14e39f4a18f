"""Collects the nodes and weights of an ONNX graph, and streams the weights to a data file as they come."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from compression.methods.quantization import QuantizedMatrix, quantize

Floats = NDArray[np.float32]

DATA_FILE = "model.onnx.data"
CONTRIB = "com.microsoft"
_OPSET, _IR_VERSION = 20, 10
_INLINE_BYTES = 4096  # smaller tensors stay in the graph's own file
_PAGE = 4096  # offsets of external data, so that the runtime can map it


class GraphWriter:
    """Nodes, inputs, outputs and initialisers; large initialisers go to the data file at once."""

    def __init__(self, data: BinaryIO, bits: int) -> None:
        self.bits = bits
        self.bytes_per_token = 0
        self._data = data
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: int, shape: list[int | str]) -> str:
        """Declare an input of the graph; gives its name."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, shape: list[int | str]) -> str:
        """Declare a float32 output of the graph; gives its name."""
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def node(self, op: str, inputs: list[str], outputs: str | list[str], domain: str = "", **kw: Any) -> str:
        """Append a node; gives its first output."""
        names = [outputs] if isinstance(outputs, str) else outputs
        self._nodes.append(helper.make_node(op, inputs, names, name=names[0], domain=domain, **kw))
        return names[0]

    def constant(self, name: str, value: NDArray[Any], read_each_step: bool = True) -> str:
        """Store an initialiser once under its name.

        Args:
            name: of the initialiser.
            value: its elements; above a page they go to the data file.
            read_each_step: whether one decoding step reads all of it, for ``bytes_per_token``.

        Returns:
            ``name``.
        """
        if name not in self._constants:
            external = value.nbytes > _INLINE_BYTES
            self._constants[name] = (
                self._external(name, value) if external else numpy_helper.from_array(value, name)
            )
            self.bytes_per_token += value.nbytes if read_each_step else 0
        return name

    def _external(self, name: str, value: NDArray[Any]) -> onnx.TensorProto:
        self._data.write(bytes(-self._data.tell() % _PAGE))
        place = {"location": DATA_FILE, "offset": self._data.tell(), "length": value.nbytes}
        self._data.write(np.ascontiguousarray(value).data)
        tensor = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(value.dtype),
            dims=value.shape,
            data_location=TensorProto.EXTERNAL,
        )
        for key, entry in place.items():
            tensor.external_data.add(key=key, value=str(entry))
        return tensor

    def model(self) -> onnx.ModelProto:
        """The finished model, whose data file holds the large initialisers."""
        graph = helper.make_graph(
            self._nodes, "gpt_neox", self._inputs, self._outputs, list(self._constants.values())
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="damso")

    def matmul(self, x: str, name: str, weight: Floats, bias: Floats | None = None) -> str:
        """``x @ weightᵀ + bias`` with weight [out, in] at the graph's precision."""
        if self.bits == 32:
            product = self.node("MatMul", [x, self.constant(f"{name}.weight", weight.T)], f"{name}.product")
            return product if bias is None else self.add_bias(product, name, bias)
        return self.matmul_quantized(x, name, quantize(weight, self.bits), bias)

    def add_bias(self, x: str, name: str, bias: Floats) -> str:
        """``x + bias`` with bias [out]."""
        return self.node("Add", [x, self.constant(f"{name}.bias", bias)], f"{name}.biased")

    def matmul_quantized(
        self, x: str, name: str, matrix: QuantizedMatrix, bias: Floats | None = None, output: str = ""
    ) -> str:
        """``x @ weightᵀ + bias`` with an already quantised weight [out, in]."""
        inputs = [x, *self.quantized_constants(name, matrix)]
        if bias is not None:
            inputs += [""] * (5 - len(inputs)) + [self.constant(f"{name}.bias", bias)]
        return self.node(
            "MatMulNBits",
            inputs,
            output or f"{name}.product",
            CONTRIB,
            K=matrix.columns,
            N=matrix.rows,
            bits=matrix.bits,
            block_size=matrix.block,
            accuracy_level=4,
        )

    def quantized_constants(
        self, name: str, matrix: QuantizedMatrix, read_each_step: bool = True
    ) -> list[str]:
        """Store packed weights, scales and zero points (if any); gives their names."""
        names = [
            self.constant(f"{name}.packed", matrix.packed, read_each_step),
            self.constant(f"{name}.scales", matrix.scales, read_each_step),
        ]
        if matrix.zero_points is not None:
            names.append(self.constant(f"{name}.zero_points", matrix.zero_points, read_each_step))
        return names
