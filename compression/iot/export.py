"""Writes the autoencoder as an ONNX file, float or int8 per channel, byte by byte.

The graph is a chain of ``Gemm`` and ``Relu``; int8 weights pass through ``DequantizeLinear`` with one scale an output
channel, so activations stay float and a record's score never depends on its neighbours. Weights lie as [out, in],
because ONNX Runtime 1.32 computes a ``Gemm`` on a dequantised [in, out] weight inexactly. The protobuf
wire format of so plain a graph takes a page of code, and writing it here means that a device can be learnt without the
package ``onnx`` and that a file of two kilobytes is not half names.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compression.iot.model import Autoencoder, Floats

INPUT, OUTPUT = "x", "y"
_IR_VERSION, _OPSET = 8, 13  # the first opset whose DequantizeLinear takes a scale a channel
_TINY = 1e-20  # far from the denormal numbers, with which processors are a hundred times slower
_FLOAT, _INT8 = 1, 3  # TensorProto.DataType
_TYPES = {np.dtype(np.float32): _FLOAT, np.dtype(np.int8): _INT8}


def quantize_channels(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Symmetric int8 with a scale an output channel.

    Scales are powers of two: they cost at most one of the eight bits, and their bytes deflate to almost nothing,
    which matters where a channel has ten weights left.

    Args:
        weight: float32 [in, out].

    Returns:
        int8 [in, out] in [−127, 127] and float32 scales [out]; weight ≈ int8 · scale. A channel without a
        weight above 1e-20 has scale 1.
    """
    largest = np.abs(weight).max(axis=0).astype(np.float64)
    scale = np.exp2(np.ceil(np.log2(np.where(largest > _TINY, largest / 127, 1))))
    return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)


def short_floats(values: Floats) -> Floats:
    """float32 with the eight leading bits of each value; the zeros behind them deflate. What is tiny becomes zero."""
    mantissa, exponent = np.frexp(np.where(np.abs(values) > _TINY, values, 0))
    short: Floats = np.ldexp(np.rint(mantissa * 256) / 256, exponent).astype(np.float32)
    return short


def rounded(network: Autoencoder) -> Autoencoder:
    """The network that the int8 export computes, in float32."""
    levels = [quantize_channels(weight) for weight in network.weights]
    weights = tuple((level * scale).astype(np.float32) for level, scale in levels)
    return Autoencoder(weights, tuple(short_floats(bias) for bias in network.biases))


def stored(model: bytes) -> bytes:
    """The model as it is kept on disk: deflated, so that the zeros of a pruned network take no room."""
    return zlib.compress(model, 9)


def restored(content: bytes, limit: int) -> bytes:
    """The model that `stored` was given.

    Args:
        content: from disk.
        limit: bytes that a model may have.

    Raises:
        ValueError: not deflated, cut short, or larger than ``limit``.
    """
    inflater = zlib.decompressobj()
    try:
        model = inflater.decompress(content, limit)
    except zlib.error as error:
        raise ValueError("not deflated") from error
    if not inflater.eof or inflater.unused_data:
        raise ValueError("cut short, or too large")
    return model


def to_onnx(network: Autoencoder, bits: int) -> bytes:
    """The network as an ONNX model, ``x`` float32 [records, features] → ``y`` of the same shape.

    Args:
        network: to export.
        bits: 32 for float weights, 8 for int8 per output channel.

    Raises:
        ValueError: ``bits`` is neither.
    """
    if bits not in (8, 32):
        raise ValueError(f"bits must be 8 or 32, not {bits}")
    nodes: list[bytes] = []
    tensors: list[bytes] = []
    last = len(network.weights) - 1
    entering = INPUT
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        if bits == 8:
            levels, scale = quantize_channels(weight)
            tensors += [_tensor(f"q{layer}", levels.T), _tensor(f"s{layer}", scale)]
            nodes.append(_node("DequantizeLinear", [f"q{layer}", f"s{layer}"], f"w{layer}", axis=0))
            bias = short_floats(bias)
        else:
            tensors.append(_tensor(f"w{layer}", weight.T))
        tensors.append(_tensor(f"b{layer}", bias))
        sums = OUTPUT if layer == last else f"g{layer}"
        nodes.append(_node("Gemm", [entering, f"w{layer}", f"b{layer}"], sums, transB=1))
        if layer < last:
            entering = f"r{layer}"
            nodes.append(_node("Relu", [sums], entering))
    features = len(network.biases[-1])
    graph = (
        [_bytes(1, node) for node in nodes] + [_text(2, "iot")] + [_bytes(5, tensor) for tensor in tensors]
    )
    graph += [_bytes(11, _value(INPUT, features)), _bytes(12, _value(OUTPUT, features))]
    return _integer(1, _IR_VERSION) + _bytes(7, b"".join(graph)) + _bytes(8, _integer(2, _OPSET))


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: int) -> bytes:
    """NodeProto: inputs 1, outputs 2, op_type 4, attributes 5 (AttributeProto: name 1, i 3, type 20 of 2 for INT)."""
    named = [_text(1, name) + _integer(3, value) + _integer(20, 2) for name, value in attributes.items()]
    head = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, operator)
    return head + b"".join(_bytes(5, attribute) for attribute in named)


def _tensor(name: str, value: NDArray[np.float32] | NDArray[np.int8]) -> bytes:
    """TensorProto: dims 1, data_type 2, name 8, raw_data 9 (little-endian)."""
    dims = b"".join(_integer(1, size) for size in value.shape)
    raw = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
    return dims + _integer(2, _TYPES[value.dtype]) + _text(8, name) + _bytes(9, raw)


def _value(name: str, features: int) -> bytes:
    """ValueInfoProto of a float tensor [n, features]: the first dimension has a name, the second a size."""
    shape = _bytes(1, _text(2, "n")) + _bytes(1, _integer(1, features))
    return _text(1, name) + _bytes(2, _bytes(1, _integer(1, _FLOAT) + _bytes(2, shape)))


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _varint(value: int) -> bytes:
    """Base-128 varint of a number ≥ 0: seven bits a byte, the lowest first."""
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
