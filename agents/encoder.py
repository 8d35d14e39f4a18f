"""The sentence encoder: one vector a text, on NumPy and a Rust tokenizer alone.

The first form is a static embedding: every subword has one row, a text is the mean of its rows, normalised. A
row's length is its learned weight, so frequent particles count little. Order is not seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from compression.artefacts import model_folder
from compression.errors import ModelCorruptError, ModelMissingError

WEIGHTS = "encoder.safetensors"
TOKENIZER = "tokenizer.json"
CONFIG = "config.json"
_TEXTS_AT_ONCE = 256


class Encoder:
    """A static embedding of 8-bit rows.

    Attributes:
        dimension: length of a vector.
        name: the model's name and the start of its checksum; it changes whenever the vectors do.
        tokenizer: makes subwords of a text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        table: NDArray[np.int8],
        scales: NDArray[np.float32],
        unknown: int,
        name: str,
    ) -> None:
        self.name = name
        self.dimension = int(table.shape[1])
        self.tokenizer = tokenizer
        self._table = table
        self._scales = scales
        self._unknown = unknown

    @classmethod
    def load(cls, folder: Path | None = None) -> Encoder:
        """Load an encoder.

        Args:
            folder: with ``encoder.safetensors``, ``tokenizer.json``, ``config.json``; None: the embedded one.

        Raises:
            ModelMissingError: a file is not there.
            ModelCorruptError: a file is damaged, or the files do not belong together.
        """
        return cls(*read_parts(model_folder("encoder") if folder is None else folder))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts.

        Args:
            texts: any strings; one without a known subword gives the zero vector.

        Returns:
            float32 [n, dimension], rows of length 1 (or 0).
        """
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            bags = self.tokenize(texts[start : start + _TEXTS_AT_ONCE])
            for row, ids in enumerate(bags, start):
                if len(ids):
                    vectors[row] = self._scales[ids] @ self._table[ids].astype(np.float32)
        return normalised(vectors)

    def rows(self) -> NDArray[np.float32]:
        """The subwords' rows, float32 [vocabulary, dimension]; training starts from them."""
        rows: NDArray[np.float32] = self._table.astype(np.float32) * self._scales[:, None]
        return rows

    def tokenize(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Ids of the known subwords of every text."""
        encodings = self.tokenizer.encode_batch_fast(
            [_valid(text) for text in texts], add_special_tokens=False
        )
        bags = (np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings)
        return [ids[ids != self._unknown] for ids in bags]

    def token_vectors(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Vectors of every text's known subwords, float32 [tokens, dimension]; the length of a row is its weight."""
        return [self._table[ids].astype(np.float32) * self._scales[ids, None] for ids in self.tokenize(texts)]


Parts = tuple[Tokenizer, NDArray[np.int8], NDArray[np.float32], int, str]


def read_parts(folder: Path, extra: Sequence[str] = ()) -> Parts:
    """Tokenizer, table, scales, number of the unknown subword and name of the encoder in a folder.

    Args:
        folder: as for `Encoder.load`.
        extra: further files that the name's checksum covers.

    Raises:
        ModelMissingError: a file is not there.
        ModelCorruptError: a file is damaged, or the files do not belong together.
    """
    config = _read_config(folder / CONFIG)
    tokenizer = _read_tokenizer(folder / TOKENIZER)
    table, scales = _read_table(folder / WEIGHTS)
    if tokenizer.get_vocab_size() > len(table) or config.get("dimension") != table.shape[1]:
        raise _corrupt(folder / CONFIG)
    content = b"".join(_present(folder / file).read_bytes() for file in (WEIGHTS, TOKENIZER, *extra))
    unknown = tokenizer.token_to_id(str(config.get("unknown_token")))
    name = f"{config.get('name')}@{hashlib.sha256(content).hexdigest()[:12]}"
    return tokenizer, table, scales, -1 if unknown is None else unknown, name


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return scaled


def save(
    folder: Path, name: str, tokenizer: Tokenizer, rows: NDArray[np.float32], unknown_token: str
) -> None:
    """Write an encoder whose rows are rounded to 8 bits, each with its own scale.

    Args:
        folder: made when missing.
        name: the model's name.
        tokenizer: its ids are the rows' numbers.
        rows: float32 [vocabulary, dimension].
        unknown_token: the subword that counts for nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scales = np.maximum(np.abs(rows).max(axis=1) / 127, 1e-6).astype(np.float16)
    table = np.clip(np.round(rows / scales.astype(np.float32)[:, None]), -127, 127).astype(np.int8)
    save_file({"table": table, "scales": scales}, folder / WEIGHTS)
    tokenizer.save(str(folder / TOKENIZER), pretty=False)
    config = {"name": name, "dimension": int(rows.shape[1]), "unknown_token": unknown_token}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _valid(text: str) -> str:
    """``text`` without lone surrogates, which the tokenizer refuses."""
    return text.encode("utf-8", "ignore").decode("utf-8")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(_present(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise _corrupt(path) from error
    if not isinstance(config, dict):
        raise _corrupt(path)
    return config


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_buffer(_present(path).read_bytes())
    # The Rust library raises bare Exception for a malformed file.
    except Exception as error:
        if isinstance(error, ModelMissingError):
            raise
        raise _corrupt(path) from error


def _read_table(path: Path) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    try:
        tensors = load_file(_present(path))
    except SafetensorError as error:
        raise _corrupt(path) from error
    table, scales = tensors.get("table"), tensors.get("scales")
    if (
        table is None
        or scales is None
        or table.dtype != np.int8
        or table.ndim != 2
        or scales.shape != table.shape[:1]
    ):
        raise _corrupt(path)
    return table, scales.astype(np.float32)


def _present(path: Path) -> Path:
    if not path.is_file():
        raise ModelMissingError(
            f"문장 인코더 파일 {path.name}이(가) 없습니다.", "models 폴더를 다시 받아 주세요."
        )
    return path


def _corrupt(path: Path) -> ModelCorruptError:
    return ModelCorruptError(
        f"문장 인코더 파일 {path.name}이(가) 손상되었습니다.", "models 폴더를 다시 받아 주세요."
    )
