"""Writes a safetensors file tensor by tensor, so that it never has to fit in memory.

The format is eight bytes of header length, a JSON header with every tensor's dtype, shape and place, then the
data. Names and shapes are known beforehand, so the header can be written first.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compression.errors import ModelError

_NAMES = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16"}
_ALIGNMENT = 8


def write_tensors(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Iterable[tuple[str, NDArray[np.floating]]],
    dtype: type[np.floating],
    about: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file; it is there when it is complete, and not before.

    Args:
        path: the file.
        shapes: of all tensors by name, in the order in which they come.
        tensors: name and elements, in that order.
        dtype: float32 or float16 for all of them.
        about: the file's metadata.

    Raises:
        ValueError: the tensors are not the ones announced.
        ModelError: the disk is full.
    """
    partial = path.with_name(f".{path.name}.partial")
    header = _header(shapes, np.dtype(dtype), about or {})
    expected = iter(shapes.items())
    with full_disk_explained():
        try:
            with partial.open("wb") as file:
                file.write(header)
                for name, tensor in tensors:
                    if (name, tensor.shape) != next(expected, None):
                        raise ValueError(f"{name} {tensor.shape} was not announced here")
                    file.write(np.ascontiguousarray(tensor, dtype).data)
                if next(expected, None) is not None:
                    raise ValueError("an announced tensor did not come")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def full_disk_explained() -> Iterator[None]:
    """Says so in Korean when there is no room to write.

    Raises:
        ModelError: the disk or the quota is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ModelError(
            "디스크에 남은 자리가 없어 멈췄어요.", "자리를 비우고 같은 명령을 다시 실행하면 이어서 해요."
        ) from error


def _header(
    shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[np.floating], about: Mapping[str, str]
) -> bytes:
    entries, place = {}, 0
    for name, shape in shapes.items():
        end = place + math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps({"__metadata__": {"format": "pt", **about}, **entries}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
