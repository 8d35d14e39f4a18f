"""Turns a GPT-NeoX checkpoint into a folder that the engine loads."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from compression.errors import ModelMissingError
from compression.language.graph import write_decoder
from compression.language.neox import NeoXConfig
from compression.language.weights import Checkpoint, read_json


def export(checkpoint: Path, out: Path, bits: int, max_length: int | None = None) -> Path:
    """Write ``model.onnx``, ``model.onnx.data``, ``tokenizer.json`` and ``config.json``.

    The files appear in ``out`` together, when all are complete; other files there stay.

    Args:
        checkpoint: folder with config.json, tokenizer.json and model.safetensors (or shards with an index).
        out: folder to write, made when it is missing.
        bits: 32, 8 or 4 for the linear layers.
        max_length: positions to allow, at most the checkpoint's own; the KV cache grows with it.

    Returns:
        ``out``.

    Raises:
        ModelMissingError: a file of the checkpoint is missing.
        ModelCorruptError: a file of the checkpoint is damaged.
        UnsupportedModelError: another architecture, or pickled weights.
        ValueError: ``bits`` is not 32, 8 or 4.
    """
    weights = Checkpoint(checkpoint)
    tokenizer = read_json(_tokenizer_file(checkpoint))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as folder:
        partial = Path(folder)
        bytes_per_token = write_decoder(weights, partial, bits, max_length)
        config = engine_config(weights.config, tokenizer, bits, bytes_per_token, max_length)
        text = json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
        (partial / "config.json").write_text(text, encoding="utf-8")
        shutil.copyfile(_tokenizer_file(checkpoint), partial / "tokenizer.json")
        for file in sorted(partial.iterdir()):
            file.replace(out / file.name)
    return out


def engine_config(
    config: dict[str, Any],
    tokenizer: dict[str, Any],
    bits: int,
    bytes_per_token: int,
    max_length: int | None = None,
) -> dict[str, Any]:
    """What the engine needs to know of a model.

    Args:
        config: the checkpoint's config.json.
        tokenizer: its tokenizer.json.
        bits: of the linear layers.
        bytes_per_token: weights read by one decoding step.
        max_length: positions to allow, at most the checkpoint's own.

    Returns:
        Plain JSON types.

    Raises:
        UnsupportedModelError: the configuration is not GPT-NeoX's.
    """
    neox = NeoXConfig.from_dict(config)
    eos = config.get("eos_token_id")
    special = [token for token in tokenizer.get("added_tokens", []) if token.get("special")]
    return {
        "architecture": "gpt_neox",
        "bits": bits,
        "bytes_per_token": bytes_per_token,
        "eos_token_ids": eos if isinstance(eos, list) else [] if eos is None else [eos],
        "head_dim": neox.head_dim,
        "heads": neox.heads,
        "hidden": neox.hidden,
        "layers": neox.layers,
        "max_length": min(max_length or neox.max_length, neox.max_length),
        "special_tokens": {token["content"]: token["id"] for token in special},
        "vocab_size": neox.vocab_size,
    }


def _tokenizer_file(checkpoint: Path) -> Path:
    file = checkpoint / "tokenizer.json"
    if not file.is_file():
        raise ModelMissingError("체크포인트에 tokenizer.json이 없어요.", "폴더를 확인해 주세요.")
    return file
