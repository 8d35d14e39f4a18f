"""Reads a checkpoint folder's safetensors tensor by tensor, without trusting their headers.

Files are memory-mapped and a tensor becomes float32 only when it is asked for, so a checkpoint never has to
fit in memory. Sizes and offsets are checked before anything is allocated. Pickled weights are refused:
loading them runs code.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compression.errors import ModelCorruptError, ModelMissingError, UnsupportedModelError

Floats = NDArray[np.float32]

_MAX_HEADER = 100_000_000  # the format's own limit, in bytes
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_DOWNLOAD_AGAIN = "체크포인트를 다시 받아 주세요."


@dataclass(frozen=True)
class _Tensor:
    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int


class Checkpoint:
    """The float tensors of ``model.safetensors``, or of the shards named by its index file.

    Attributes:
        config: the parsed ``config.json``.
    """

    def __init__(self, folder: Path) -> None:
        """Read the configuration and the headers.

        Args:
            folder: holds config.json and the safetensors.

        Raises:
            ModelMissingError: the folder or one of its files is missing.
            ModelCorruptError: a file is not what its name says.
            UnsupportedModelError: the weights are pickled.
        """
        self.config = read_json(folder / "config.json")
        self._tensors = {
            name: tensor for file in _weight_files(folder) for name, tensor in _read_header(file).items()
        }

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> Floats:
        """One tensor as float32, copied out of the file.

        Raises:
            ModelCorruptError: the checkpoint has no float tensor of that name.
        """
        tensor = self._tensors.get(name)
        if tensor is None:
            raise ModelCorruptError(f"체크포인트에 가중치가 없어요: {name}", _DOWNLOAD_AGAIN)
        raw = np.memmap(tensor.file, _DTYPES[tensor.dtype], "r", tensor.offset, tensor.shape)
        if tensor.dtype == "BF16":
            return np.array((raw.astype(np.uint32) << 16).view(np.float32))
        return np.array(raw, np.float32)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every float tensor by its name, as the headers say."""
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    @property
    def files(self) -> list[Path]:
        """The files that hold the tensors."""
        return sorted({tensor.file for tensor in self._tensors.values()})

    @property
    def nbytes(self) -> int:
        """Bytes of all float tensors in the files."""
        return sum(
            math.prod(tensor.shape) * _DTYPES[tensor.dtype].itemsize for tensor in self._tensors.values()
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ModelMissingError: no such file.
        ModelCorruptError: it holds no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelMissingError(f"모델 파일이 없어요: {path.name}", "폴더를 확인해 주세요.") from error
    except (OSError, ValueError) as error:
        raise _corrupt(path) from error
    if not isinstance(value, dict):
        raise _corrupt(path)
    return value


def _weight_files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return _shards(folder, index)
    if any(file for pattern in _PICKLES for file in folder.glob(pattern)):
        raise UnsupportedModelError(
            "pickle 형식(.bin, .pt)의 가중치는 안전하지 않아 열지 않아요.",
            "safetensors 형식의 체크포인트를 준비해 주세요.",
        )
    raise ModelMissingError("체크포인트에 model.safetensors가 없어요.", "폴더를 확인해 주세요.")


def _shards(folder: Path, index: Path) -> list[Path]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict):
        raise _corrupt(index)
    files = sorted({str(name) for name in names.values()})
    for name in files:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise _corrupt(index)
        if not (folder / name).is_file():
            raise ModelMissingError(f"모델 파일이 없어요: {name}", _DOWNLOAD_AGAIN)
    return [folder / name for name in files]


def _read_header(file: Path) -> dict[str, _Tensor]:
    """The float tensors of a file: 8 bytes of header length, a JSON header, then the data."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(_MAX_HEADER, size - 8):
            raise _corrupt(file)
        try:
            header = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            tensors = {name: _tensor(file, entry, 8 + length, size) for name, entry in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _corrupt(file) from error
    return {name: tensor for name, tensor in tensors.items() if tensor.dtype in _DTYPES}


def _tensor(file: Path, entry: dict[str, Any], data: int, size: int) -> _Tensor:
    begin, end = entry["data_offsets"]
    shape = tuple(int(length) for length in entry["shape"])
    if not 0 <= begin <= end <= size - data or any(length < 0 for length in shape):
        raise ValueError("offsets outside the file")
    dtype = str(entry["dtype"])
    if dtype in _DTYPES and math.prod(shape) * _DTYPES[dtype].itemsize != end - begin:
        raise ValueError("shape and offsets disagree")
    return _Tensor(file, dtype, shape, data + begin)


def _corrupt(path: Path) -> ModelCorruptError:
    return ModelCorruptError(f"모델 파일이 손상되었어요: {path.name}", _DOWNLOAD_AGAIN)
