"""A sentence encoder that sees order: 8-bit rows, a tokenizer and a small int8 transformer on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from agents.encoder import Encoder, normalised, read_parts
from compression.artefacts import model_folder
from compression.errors import ModelCorruptError
from compression.runtime import session

GRAPH, DISTANCES = "context.onnx", "distances.safetensors"
LONGEST = 128
"""Subwords of a text that are read."""
_TEXTS_AT_ONCE = 32


class ContextualEncoder(Encoder):
    """The static encoder's tokenizer and table, read by a transformer instead of averaged."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        table: NDArray[np.int8],
        scales: NDArray[np.float32],
        unknown: int,
        name: str,
        distances: NDArray[np.float32],
        graph: Path,
        threads: int = 1,
    ) -> None:
        """Open the graph.

        Args:
            tokenizer: makes subwords of a text.
            table: int8 [vocabulary, width].
            scales: float32 [vocabulary], of the rows.
            unknown: the subword that counts for nothing.
            name: the model's name and the start of its checksum.
            distances: float32 [heads, 2 · LONGEST − 1], the attention's bias by distance, the most negative first.
            graph: an ONNX file; its output is the vector.
            threads: one is fastest for a single message.

        Raises:
            ModelMissingError: there is no graph.
            ModelCorruptError: it is damaged.
        """
        super().__init__(tokenizer, table, scales, unknown, name)
        self._distances = distances
        self._session = session(graph, threads)
        self.dimension = self._read([np.zeros(1, np.int64)]).shape[1]

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """Load an encoder.

        Args:
            folder: with an encoder's three files, ``context.onnx`` and ``distances.safetensors``; None: the embedded.

        Raises:
            ModelMissingError: a file is not there.
            ModelCorruptError: a file is damaged, or the files do not belong together.
        """
        folder = model_folder("encoder") if folder is None else folder
        parts = read_parts(folder, (DISTANCES, GRAPH))
        try:
            distances = load_file(folder / DISTANCES)["distances"]
        except (SafetensorError, KeyError) as error:
            raise _corrupt() from error
        if distances.ndim != 2 or distances.shape[1] != 2 * LONGEST - 1:
            raise _corrupt()
        return cls(*parts, distances, folder / GRAPH)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `Encoder.encode`; of a long text the first `LONGEST` subwords count."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        bags = [ids[:LONGEST] for ids in self.tokenize(texts)]
        order = sorted((n for n, ids in enumerate(bags) if len(ids)), key=lambda n: len(bags[n]))
        for start in range(0, len(order), _TEXTS_AT_ONCE):
            chosen = order[start : start + _TEXTS_AT_ONCE]
            vectors[chosen] = self._read([bags[n] for n in chosen])
        return normalised(vectors)

    def _read(self, bags: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        length = max(map(len, bags))
        rows = np.zeros((len(bags), length, self._table.shape[1]), np.float32)
        mask = np.zeros((len(bags), length), np.float32)
        for place, ids in enumerate(bags):
            rows[place, : len(ids)] = self._table[ids] * self._scales[ids][:, None]
            mask[place, : len(ids)] = 1
        apart = np.arange(length)[None, :] - np.arange(length)[:, None] + LONGEST - 1
        inputs = {"vectors": rows, "distances": self._distances[:, apart][None], "mask": mask}
        return np.asarray(self._session.run(None, inputs)[0], np.float32)


def open_encoder(folder: Path) -> Encoder:
    """The encoder of a folder, static or contextual. Raises as `Encoder.load`."""
    return ContextualEncoder.load(folder) if (folder / GRAPH).is_file() else Encoder.load(folder)


def _corrupt() -> ModelCorruptError:
    return ModelCorruptError(
        f"문장 인코더 파일 {DISTANCES}이(가) 손상되었습니다.", "models 폴더를 다시 받아 주세요."
    )
