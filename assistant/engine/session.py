"""One exported decoder with one KV slot: prefill, decode and the reuse of a shared prefix.

Past and present are bound to the same memory, so that a step writes its own keys and values in place and
nothing is copied. Positions after the current length are never read: going back is only a smaller length. A
decode step runs on buffers bound once, because binding anew costs as much as a small layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from assistant.engine.config import EngineConfig
from compression.errors import ModelCorruptError
from compression.runtime import session

Floats = NDArray[np.float32]

PREFILL_CHUNK = 128  # tokens a pass: bounds activations, and the wait until a cancellation is seen


@dataclass(frozen=True)
class _Step:
    """A binding for one number of tokens and rows, and the arrays that it reads and writes."""

    binding: ort.IOBinding
    input_ids: NDArray[np.int64]
    logit_rows: NDArray[np.int64]
    seqlens_k: NDArray[np.int32]
    total_length: NDArray[np.int32]
    logits: Floats


class ModelSession:
    """A decoder and its KV cache, for one sequence at a time; not thread-safe.

    Attributes:
        tokens: ids whose keys and values the slot holds.
    """

    def __init__(self, folder: Path, config: EngineConfig, threads: int | None = None) -> None:
        """Load ``model.onnx`` and reserve the cache.

        Args:
            folder: of the exported model.
            config: its configuration.
            threads: of the runtime; all physical cores by default.

        Raises:
            ModelError: the model cannot be loaded, or is not the one that the configuration describes.
        """
        self._session = session(folder / "model.onnx", threads)
        self._config = config
        self._check_shapes()
        # Pages of zeros take memory only once they are written: a long context costs what is used of it.
        shape = (1, config.heads, config.max_length, config.head_dim)
        self._caches = [
            (f"{layer}.{kind}", np.zeros(shape, np.float32))
            for layer in range(config.layers)
            for kind in ("key", "value")
        ]
        self._decode = self._step(1, 1)
        self.tokens: list[int] = []

    def prefill(self, ids: list[int], cancelled: Callable[[], bool] | None = None) -> Floats | None:
        """Make the slot hold ``ids``, computing only what follows the prefix that it already holds.

        Args:
            ids: at least one token, at most ``max_length``.
            cancelled: asked before each chunk.

        Returns:
            float32 [vocab], logits after the last token (valid until the next call); None when cancelled.
        """
        self.rewind(self.cached(ids))
        logits = None
        for start in range(len(self.tokens), len(ids), PREFILL_CHUNK):
            if cancelled is not None and cancelled():
                return None
            logits = self.forward(ids[start : start + PREFILL_CHUNK])
        return None if logits is None else logits[0]

    def cached(self, ids: list[int]) -> int:
        """How many of the first ``ids`` need not run: all but the last at most, whose logits are not kept."""
        return min(common_prefix(self.tokens, ids), len(ids) - 1)

    def forward(self, ids: list[int], rows: int = 1) -> Floats:
        """Append tokens to the slot.

        Args:
            ids: tokens, at least one.
            rows: of how many of the last tokens the logits are wanted.

        Returns:
            float32 [rows, vocab]; valid until the next call.
        """
        step = self._decode if len(ids) == 1 else self._step(len(ids), rows)
        step.input_ids[0] = ids
        step.total_length[...] = len(self.tokens) + len(ids)
        step.seqlens_k[0] = len(self.tokens) + len(ids) - 1
        self._session.run_with_iobinding(step.binding)
        self.tokens += ids  # only now: a pass that failed may have left anything behind the old length
        last: Floats = step.logits[0]
        return last

    def rewind(self, length: int) -> None:
        """Forget all but the first ``length`` tokens."""
        del self.tokens[length:]

    def _check_shapes(self) -> None:
        """The graph must be the one that the configuration describes, or binding would fail step by step."""
        config = self._config
        caches = [value.shape for value in self._session.get_inputs() if value.name.startswith("past_key")]
        logits = [value.shape for value in self._session.get_outputs() if value.name == "logits"]
        sizes = {(shape[1], shape[3]) for shape in caches}
        vocab_size = logits[0][-1] if logits else None
        found = (len(caches), sizes, vocab_size)
        if found != (2 * config.layers, {(config.heads, config.head_dim)}, config.vocab_size):
            raise ModelCorruptError(
                "모델과 config.json이 서로 맞지 않아요.", "모델을 다시 받거나 다시 내보내 주세요."
            )

    def _step(self, length: int, rows: int) -> _Step:
        step = _Step(
            binding=self._session.io_binding(),
            input_ids=np.zeros((1, length), np.int64),
            logit_rows=np.arange(length - rows, length),
            seqlens_k=np.zeros(1, np.int32),
            total_length=np.zeros((), np.int32),
            logits=np.empty((1, rows, self._config.vocab_size), np.float32),
        )
        _bind(step.binding.bind_input, "input_ids", step.input_ids)
        _bind(step.binding.bind_input, "logit_rows", step.logit_rows)
        _bind(step.binding.bind_input, "seqlens_k", step.seqlens_k)
        _bind(step.binding.bind_input, "total_sequence_length", step.total_length)
        _bind(step.binding.bind_output, "logits", step.logits)
        for name, cache in self._caches:
            _bind(step.binding.bind_input, f"past_key_values.{name}", cache)
            _bind(step.binding.bind_output, f"present.{name}", cache)
        return step


def common_prefix(left: list[int], right: list[int]) -> int:
    """Number of tokens that both lists begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(left), len(right)))


def _bind(bind: Callable[..., None], name: str, array: NDArray[np.generic]) -> None:
    bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
