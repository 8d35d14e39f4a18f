"""The configuration of an exported model, checked at the door."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.errors import ModelCorruptError, ModelMissingError, UnsupportedModelError


@dataclass(frozen=True)
class EngineConfig:
    """``config.json`` as ``compression.language.export`` writes it.

    Attributes:
        layers: transformer layers.
        heads: attention heads.
        head_dim: dimensions of a head.
        vocab_size: rows of the logits; may be more than the tokenizer has.
        max_length: positions of prompt and answer together.
        eos_token_ids: tokens that end an answer.
        bits: of the linear layers.
        bytes_per_token: weights read by one decoding step.
    """

    layers: int
    heads: int
    head_dim: int
    vocab_size: int
    max_length: int
    eos_token_ids: frozenset[int]
    bits: int
    bytes_per_token: int


def read_config(folder: Path) -> EngineConfig:
    """Read the configuration of an exported model.

    Raises:
        ModelMissingError: the folder holds no config.json.
        ModelCorruptError: it is not a configuration.
        UnsupportedModelError: it is of another architecture, or of a checkpoint that was not exported.
    """
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelMissingError(f"모델 폴더가 아니에요: {folder}", "경로를 확인해 주세요.") from error
    except (OSError, ValueError) as error:
        raise _corrupt() from error
    if not isinstance(values, dict):
        raise _corrupt()
    if values.get("architecture") != "gpt_neox":
        raise UnsupportedModelError(
            "내보낸 GPT-NeoX 모델이 아니에요.", "체크포인트라면 먼저 ONNX로 내보내 주세요."
        )
    return _parse(values)


def _parse(values: dict[str, Any]) -> EngineConfig:
    sizes = ("layers", "heads", "head_dim", "vocab_size", "max_length", "bits", "bytes_per_token")
    try:
        numbers = {name: int(values[name]) for name in sizes}
        eos = frozenset(int(token) for token in values["eos_token_ids"])
    except (KeyError, TypeError, ValueError) as error:
        raise _corrupt() from error
    if min(numbers.values()) < 1:
        raise _corrupt()
    return EngineConfig(**numbers, eos_token_ids=eos)


def _corrupt() -> ModelCorruptError:
    return ModelCorruptError("모델의 config.json이 손상되었어요.", "모델을 다시 받거나 다시 내보내 주세요.")
