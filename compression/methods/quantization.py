"""Blockwise weight quantisation in the layout of ONNX Runtime's ``MatMulNBits``.

Each row of a weight [out, in] is cut into blocks of ``block`` columns that share a scale:

* 8 bits, symmetric: ``w = (q - 128) * scale``; the runtime assumes zero point 128 when none is given.
* 4 bits, asymmetric: ``w = (q - zero_point) * scale``. The range of a block is shrunk by the factor of a
  small grid that leaves the least squared error (as in AWQ's clipping search), because a few large weights
  would otherwise waste most of the 16 levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
_SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)
_ROWS_AT_ONCE = 4096

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class QuantizedMatrix:
    """A weight [out, in] in blocks along ``in``.

    Attributes:
        packed: uint8 [out, blocks, block * bits / 8]; 4-bit pairs hold the even column in the low nibble.
        scales: float32 [out, blocks].
        zero_points: uint8 [out, ceil(blocks / 2)], packed like the weights; None for 8 bits (all 128).
        columns: ``in``; the last block is padded with zeros up to a multiple of ``block``.
        bits: 4 or 8.
        block: columns that share a scale.
    """

    packed: Bytes
    scales: Floats
    zero_points: Bytes | None
    columns: int
    bits: int
    block: int

    @property
    def rows(self) -> int:
        """The number of output features."""
        return int(self.packed.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes that a product with this matrix reads."""
        zero_points = 0 if self.zero_points is None else self.zero_points.nbytes
        return self.packed.nbytes + self.scales.nbytes + zero_points


def quantize(weight: Floats, bits: int, block: int = BLOCK) -> QuantizedMatrix:
    """Quantise a weight.

    Args:
        weight: float32 [out, in].
        bits: 4 or 8.
        block: columns that share a scale; a power of two from 16 (what ``MatMulNBits`` takes).

    Returns:
        The packed weight.

    Raises:
        ValueError: ``bits`` or ``block`` is not supported.
    """
    if bits not in (4, 8):
        raise ValueError(f"bits must be 4 or 8, not {bits}")
    if block < 16 or block & (block - 1):
        raise ValueError(f"block must be a power of two from 16, not {block}")
    # Slices bound the float copies: a 12.8B embedding would not fit a few times over.
    parts = [
        _quantize_rows(weight[start : start + _ROWS_AT_ONCE], bits, block)
        for start in range(0, weight.shape[0], _ROWS_AT_ONCE)
    ]
    zero_points = None if bits == 8 else np.concatenate([zero_points for _, _, zero_points in parts])
    return QuantizedMatrix(
        packed=np.concatenate([packed for packed, _, _ in parts]),
        scales=np.concatenate([scales for _, scales, _ in parts]),
        zero_points=zero_points,
        columns=int(weight.shape[1]),
        bits=bits,
        block=block,
    )


def dequantize(matrix: QuantizedMatrix) -> Floats:
    """The weight that the runtime multiplies with: float32 [out, in]."""
    if matrix.zero_points is None:
        levels = matrix.packed.astype(np.float32) - 128
    else:
        blocks = matrix.scales.shape[1]
        zero_points = _unpack_nibbles(matrix.zero_points)[:, :blocks, None]
        levels = _unpack_nibbles(matrix.packed).astype(np.float32) - zero_points
    weight = levels * matrix.scales[:, :, None]
    return weight.reshape(matrix.rows, -1)[:, : matrix.columns]


def _quantize_rows(weight: Floats, bits: int, block: int) -> tuple[Bytes, Floats, Bytes]:
    blocks = _blocks(weight, block)
    if bits == 8:
        levels, scales = _symmetric8(blocks)
        return levels, scales, np.empty((0, 0), np.uint8)
    levels, scales, zero_points = _asymmetric4(blocks)
    return _pack_nibbles(levels), scales, _pack_nibbles(zero_points)


def _blocks(weight: Floats, block: int) -> Floats:
    """Cut [rows, in] into [rows, blocks, block], padded with zeros."""
    padding = -weight.shape[1] % block
    padded = np.pad(np.asarray(weight, np.float32), ((0, 0), (0, padding)))
    return padded.reshape(weight.shape[0], -1, block)


def _symmetric8(blocks: Floats) -> tuple[Bytes, Floats]:
    scales = _nonzero(np.abs(blocks).max(axis=2) / 127)
    levels = np.clip(np.rint(blocks / scales[:, :, None]) + 128, 1, 255)
    return levels.astype(np.uint8), scales


def _asymmetric4(blocks: Floats) -> tuple[Bytes, Floats, Bytes]:
    # Zero stays inside the range, so that padding and pruned weights are exact.
    low, high = np.minimum(blocks.min(axis=2), 0), np.maximum(blocks.max(axis=2), 0)
    best_error = np.full(low.shape, np.inf, np.float32)
    best_levels = np.zeros(blocks.shape, np.uint8)
    best_scales, best_zeros = np.ones(low.shape, np.float32), np.zeros(low.shape, np.uint8)
    for shrink in _SHRINK:
        scales = _nonzero((high - low) * np.float32(shrink / 15))
        zeros = np.clip(np.rint(-low * np.float32(shrink) / scales), 0, 15)
        levels = np.clip(np.rint(blocks / scales[:, :, None]) + zeros[:, :, None], 0, 15)
        error = np.square((levels - zeros[:, :, None]) * scales[:, :, None] - blocks).sum(axis=2)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_levels[better] = levels[better].astype(np.uint8)
        best_scales[better], best_zeros[better] = scales[better], zeros[better].astype(np.uint8)
    return best_levels, best_scales, best_zeros


def _nonzero(scales: NDArray[np.floating]) -> Floats:
    """A block of zeros gets scale 1, so that nothing divides by zero."""
    return np.where(scales > 0, scales, 1).astype(np.float32)


def _pack_nibbles(levels: Bytes) -> Bytes:
    if levels.shape[-1] % 2:
        levels = np.pad(levels, [(0, 0)] * (levels.ndim - 1) + [(0, 1)])
    return levels[..., 0::2] | (levels[..., 1::2] << np.uint8(4))


def _unpack_nibbles(packed: Bytes) -> Bytes:
    nibbles = np.stack([packed & np.uint8(15), packed >> np.uint8(4)], axis=-1)
    return nibbles.reshape(*packed.shape[:-1], -1)
