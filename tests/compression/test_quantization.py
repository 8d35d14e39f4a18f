from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from compression.methods.quantization import dequantize, quantize
from compression.runtime import session

WEIGHTS = arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 70)),
    elements=st.floats(-100, 100, width=32, allow_subnormal=False),
)


def blocks_of(weight: np.ndarray, block: int = 32) -> np.ndarray:
    return np.pad(weight, ((0, 0), (0, -weight.shape[1] % block))).reshape(weight.shape[0], -1, block)


@given(WEIGHTS)
def test_8_bits_are_within_half_a_step(weight: np.ndarray) -> None:
    matrix = quantize(weight, 8)
    error = np.abs(blocks_of(dequantize(matrix)) - blocks_of(weight))
    step = np.abs(blocks_of(weight)).max(axis=2) / 127
    assert (error <= 0.501 * step[:, :, None] + 1e-30).all()


@given(WEIGHTS)
def test_4_bits_are_no_worse_than_plain_rounding(weight: np.ndarray) -> None:
    blocks = blocks_of(weight).astype(np.float64)
    low, high = np.minimum(blocks.min(2), 0), np.maximum(blocks.max(2), 0)
    step = (high - low) / 15
    error = np.square(blocks_of(dequantize(quantize(weight, 4))) - blocks).sum(2)
    # Rounding the zero point as well costs at most a step at the ends of the range.
    assert (error <= 32 * step**2 + 1e-12).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_zeros_stay_zero_in_any_block(bits: int) -> None:
    weight = np.zeros((3, 64), np.float32)
    weight[1, :8] = 5.0
    weight[2, 40:] = -3.0
    restored = dequantize(quantize(weight, bits))
    assert (restored[weight == 0] == 0).all()
    np.testing.assert_allclose(restored, weight, rtol=0.04)


def test_the_range_search_lowers_the_error_of_gaussian_weights() -> None:
    weight = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    error = np.linalg.norm(dequantize(quantize(weight, 4)) - weight) / np.linalg.norm(weight)
    assert error < 0.085  # plain min-max rounding leaves about 0.091
    assert np.linalg.norm(dequantize(quantize(weight, 8)) - weight) / np.linalg.norm(weight) < 0.006


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("columns", [32, 96, 50, 7])
@pytest.mark.parametrize("rows_of_input", [1, 6])
def test_the_runtime_reads_the_layout(bits: int, columns: int, rows_of_input: int) -> None:
    random = np.random.default_rng(1)
    matrix = quantize(random.standard_normal((24, columns)).astype(np.float32), bits)
    x = random.standard_normal((rows_of_input, columns)).astype(np.float32)
    # Accuracy level 1 keeps activations in float32, so that only the layout can differ.
    tensors = {"packed": matrix.packed, "scales": matrix.scales, "zero_points": matrix.zero_points}
    held = {name: value for name, value in tensors.items() if value is not None}
    node = helper.make_node(
        "MatMulNBits",
        ["x", *held],
        ["y"],
        domain="com.microsoft",
        K=columns,
        N=24,
        bits=bits,
        block_size=32,
        accuracy_level=1,
    )
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows_of_input, columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows_of_input, 24])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    product = session(model.SerializeToString(), threads=1).run(None, {"x": x})[0]
    np.testing.assert_allclose(product, x @ dequantize(matrix).T, atol=2e-5)


def test_many_rows_are_quantised_in_slices_without_a_seam() -> None:
    weight = np.random.default_rng(2).standard_normal((4099, 32)).astype(np.float32)
    for bits in (4, 8):
        whole = quantize(weight, bits)
        np.testing.assert_array_equal(dequantize(whole)[4090:], dequantize(quantize(weight[4090:], bits)))


def test_sizes() -> None:
    weight = np.ones((16, 96), np.float32)
    assert quantize(weight, 4).nbytes == 16 * 96 // 2 + 16 * 3 * 4 + 16 * 2
    assert quantize(weight, 8).nbytes == 16 * 96 + 16 * 3 * 4
    assert quantize(weight, 8, block=16).scales.shape == (16, 6)


@pytest.mark.parametrize(("bits", "block"), [(2, 32), (16, 32), (4, 24), (4, 8), (8, 0)])
def test_unsupported_layouts_are_refused(bits: int, block: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        quantize(np.ones((2, 32), np.float32), bits, block)
