"""What a model's linear layers see on Korean text: second moments of their inputs or outputs, block by block.

The model never stands in memory. The hidden states of all calibration tokens are carried from block to block, and
one block's weights are read at a time (as in GPTQ, Frantar et al., 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from compression.errors import TrainingDataError
from compression.language.corpus import read_jsonl
from compression.language.layout import LINEARS, linear_name
from compression.language.weights import Checkpoint
from compression.methods.svd import Decomposition, decompose, decompose_outputs

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]

_ROWS_AT_ONCE = 8
_RIDGE = 1e-4
"""Share of the inputs' mean variance added to each: what the text never visits still counts for something."""


@dataclass(frozen=True)
class Rows:
    """Calibration text as tokens.

    Attributes:
        ids: int64 [rows, length], padded on the right.
        counted: bool [rows, length], false where padded.
    """

    ids: NDArray[np.int64]
    counted: NDArray[np.bool_]

    @property
    def tokens(self) -> int:
        """How many tokens count."""
        return int(self.counted.sum())


@dataclass(frozen=True)
class Moment:
    """A second moment of what a linear layer sees or says, on its smaller side.

    Attributes:
        matrix: float32, Σ x xᵀ over its inputs or Σ y yᵀ over its outputs without the bias.
        of_outputs: which of them; outputs where the layer is no taller than wide.
    """

    matrix: Floats
    of_outputs: bool

    def decompose(self, weight: Floats, rank: int) -> Decomposition:
        """The layer's whitened factors."""
        whitened = decompose_outputs if self.of_outputs else decompose
        return whitened(weight, rank, self.matrix)


def read_texts(file: Path) -> Iterator[str]:
    """The texts of a calibration file: paragraphs of UTF-8 text, or the ``text`` fields of a `.jsonl.xz` file.

    Raises:
        TrainingDataError: there is no such file, it is in another encoding, or it has another form.
    """
    if file.name.endswith(".jsonl.xz"):
        yield from (str(row["text"]) for row in read_jsonl(file) if row.get("text"))
        return
    try:
        with file.open(encoding="utf-8-sig") as lines:
            yield from (line.strip() for line in lines if line.strip())
    except UnicodeDecodeError as error:
        raise TrainingDataError(
            f"보정 글 {file.name}이(가) UTF-8이 아니에요.", "UTF-8로 바꾸어 저장한 뒤 다시 실행해 주세요."
        ) from error
    except OSError as error:
        raise TrainingDataError(
            f"보정 글을 열 수 없어요: {file.name}", "--calibrate로 글 파일을 알려 주세요."
        ) from error


def text_rows(texts: Iterable[str], tokenizer: Tokenizer, rows: int, length: int) -> Rows:
    """The first texts packed into rows of one length.

    Raises:
        TrainingDataError: the texts fill no row.
    """
    ids: list[int] = []
    for text in texts:
        ids += tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) >= rows * length:
            break
    full = min(len(ids) // length, rows)
    if not full:
        raise TrainingDataError(
            f"보정 글이 너무 짧아요({len(ids)}토큰).", f"{length}토큰이 넘는 한국어 글을 주세요."
        )
    packed = np.array(ids[: full * length], np.int64).reshape(full, length)
    return Rows(packed, np.ones_like(packed, np.bool_))


class BlockWalk:
    """Carries calibration tokens through a checkpoint's blocks and measures what their linear layers see.

    Attributes:
        hidden: float32 [rows, length, hidden], what comes out of the blocks so far.
    """

    def __init__(self, checkpoint: Checkpoint, rows: Rows) -> None:
        """Embeds the tokens.

        Args:
            checkpoint: of GPT-NeoX, with dense linears.
            rows: tokens within its vocabulary.
        """
        from transformers import GPTNeoXConfig

        self._checkpoint = checkpoint
        self._rows = rows
        self._config = GPTNeoXConfig.from_dict({**checkpoint.config, "_attn_implementation": "sdpa"})
        self.hidden: Floats = checkpoint["gpt_neox.embed_in.weight"][rows.ids]

    def skip_to(self, hidden: Floats) -> None:
        """Goes on from hidden states that an earlier run had reached."""
        self.hidden = hidden

    def through(self, block: int) -> dict[str, Moment]:
        """Runs one block.

        Args:
            block: its number; blocks come in order.

        Returns:
            For each of `layout.LINEARS` what whitening it needs.
        """
        import torch

        layer = self._layer(block)
        sums = {name: _Sum(layer.get_submodule(name)) for name in LINEARS}
        positions = torch.arange(self._rows.ids.shape[1])[None]
        angles = self._rotary(positions)
        with torch.inference_mode():
            for start in range(0, len(self.hidden), _ROWS_AT_ONCE):
                part = slice(start, start + _ROWS_AT_ONCE)
                counted = torch.from_numpy(self._rows.counted[part])
                for running in sums.values():
                    running.counted = counted
                # Without a mask sdpa is causal; padding stands on the right, where no counted token looks.
                after = layer(torch.from_numpy(self.hidden[part]), position_embeddings=angles)
                self.hidden[part] = after.numpy()
        return {name: running.moment() for name, running in sums.items()}

    def _layer(self, block: int) -> torch.nn.Module:
        import torch
        from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXLayer

        with torch.device("meta"):
            layer = GPTNeoXLayer(self._config, block)
        weights = {
            name: torch.from_numpy(self._checkpoint[linear_name(block, name)]) for name in layer.state_dict()
        }
        layer.load_state_dict(weights, assign=True)
        evaluated: torch.nn.Module = layer.eval()
        return evaluated

    def _rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch
        from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXRotaryEmbedding

        angles: tuple[torch.Tensor, torch.Tensor] = GPTNeoXRotaryEmbedding(self._config)(
            torch.zeros(1), positions
        )
        return angles


class _Sum:
    """Sums a `Moment` while a linear layer runs."""

    def __init__(self, linear: Any) -> None:
        import torch

        self.counted: torch.Tensor | None = None
        self._bias = linear.bias
        self._of_outputs = linear.out_features <= linear.in_features
        width = min(linear.out_features, linear.in_features)
        self._sum = torch.zeros(width, width)
        linear.register_forward_hook(self._add)

    def _add(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen = (output if self._of_outputs else inputs[0])[self.counted]
        if self._of_outputs and self._bias is not None:
            seen = seen - self._bias
        self._sum.addmm_(seen.T, seen)

    def moment(self) -> Moment:
        if not self._of_outputs:
            diagonal = self._sum.diagonal()
            diagonal += _RIDGE * diagonal.mean()
        return Moment(self._sum.numpy(), self._of_outputs)
