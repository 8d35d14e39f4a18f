from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from compression.errors import ModelCorruptError, ModelMissingError, UnsupportedModelError
from compression.language.export import export
from compression.language.weights import Checkpoint

TOKENIZER = {
    "added_tokens": [
        {"id": 0, "content": "<|end|>", "special": True},
        {"id": 9, "content": "네", "special": False},
    ]
}


def make_checkpoint(folder: Path, **save: Any) -> GPTNeoXForCausalLM:
    torch.manual_seed(5)
    config = GPTNeoXConfig(
        vocab_size=64,
        hidden_size=32,
        num_attention_heads=2,
        num_hidden_layers=2,
        intermediate_size=64,
        max_position_embeddings=48,
        eos_token_id=0,
    )
    model = GPTNeoXForCausalLM(config)
    model.save_pretrained(folder, **save)
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER), encoding="utf-8")
    return model


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_an_export_is_complete(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "checkpoint")
    out = export(tmp_path / "checkpoint", tmp_path / "a" / "out", bits=4)
    assert set(files(out)) == {"model.onnx", "model.onnx.data", "config.json", "tokenizer.json"}
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config.pop("bytes_per_token") > 0
    assert config == {
        "architecture": "gpt_neox",
        "bits": 4,
        "eos_token_ids": [0],
        "head_dim": 16,
        "heads": 2,
        "hidden": 32,
        "layers": 2,
        "max_length": 48,
        "special_tokens": {"<|end|>": 0},
        "vocab_size": 64,
    }


def test_an_export_is_deterministic_and_keeps_other_files(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "checkpoint")
    first = files(export(tmp_path / "checkpoint", tmp_path / "out", bits=8))
    (tmp_path / "out" / "MODEL_CARD.md").write_text("# card", encoding="utf-8")
    second = files(export(tmp_path / "checkpoint", tmp_path / "out", bits=8))
    assert second == first | {"MODEL_CARD.md": b"# card"}


def test_shards_give_the_same_model(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "whole")
    make_checkpoint(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    whole = export(tmp_path / "whole", tmp_path / "a", bits=32)
    assert files(export(tmp_path / "shards", tmp_path / "b", bits=32)) == files(whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_exactly(tmp_path: Path, dtype: torch.dtype) -> None:
    model = make_checkpoint(tmp_path / "checkpoint").to(dtype)
    model.save_pretrained(tmp_path / "half")
    half = Checkpoint(tmp_path / "half")
    body = {name: value for name, value in model.state_dict().items() if name.startswith("gpt_neox.layers")}
    assert len(body) == 24
    for name, value in body.items():
        np.testing.assert_array_equal(half[name], value.float().numpy())
        assert half[name].dtype == np.float32


def test_a_shorter_context_can_be_asked_for(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "checkpoint")
    for wanted, given in ((16, 16), (1000, 48)):
        out = export(tmp_path / "checkpoint", tmp_path / "out", bits=8, max_length=wanted)
        assert json.loads((out / "config.json").read_text(encoding="utf-8"))["max_length"] == given


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "model.safetensors").rename(tmp_path / "checkpoint" / "pytorch_model.bin")
    with pytest.raises(UnsupportedModelError, match="pickle"):
        export(tmp_path / "checkpoint", tmp_path / "out", bits=8)


def test_another_architecture_leaves_nothing_behind(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "checkpoint")
    config = tmp_path / "checkpoint" / "config.json"
    config.write_text(config.read_text().replace('"gpt_neox"', '"llama"'), encoding="utf-8")
    with pytest.raises(UnsupportedModelError, match="llama"):
        export(tmp_path / "checkpoint", tmp_path / "out", bits=8)
    assert files(tmp_path / "out") == {}


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "checkpoint")
    weights = load_file(tmp_path / "checkpoint" / "model.safetensors")
    del weights["gpt_neox.layers.1.mlp.dense_h_to_4h.bias"]
    save_file(weights, tmp_path / "checkpoint" / "model.safetensors")
    with pytest.raises(ModelCorruptError, match=r"layers\.1\.mlp\.dense_h_to_4h\.bias"):
        export(tmp_path / "checkpoint", tmp_path / "out", bits=8)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path: Path, file: str) -> None:
    make_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / file).unlink()
    with pytest.raises(ModelMissingError, match=file.replace(".", r"\.")):
        export(tmp_path / "checkpoint", tmp_path / "out", bits=8)


def header(entries: object, data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: list[int], offsets: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        (1 << 60).to_bytes(8, "little") + b"{}",
        (99_999_999).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (3).to_bytes(8, "little") + b"{{{",
        (60_000).to_bytes(8, "little") + b"[" * 60_000,
        header(entry([4], [0, 16]), b"too short"),
        header(entry([1 << 40, 1 << 40], [0, 16]), bytes(16)),
        header(entry([4], [-16, 0]), bytes(16)),
        header(entry([4], [16, 0]), bytes(16)),
        header(entry([-2, -2], [0, 16]), bytes(16)),
        header({"w": {"shape": [4]}}, bytes(16)),
        header({"w": 5}, bytes(16)),
    ],
)
def test_a_lying_header_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelCorruptError, match=r"model\.safetensors"):
        Checkpoint(tmp_path)


def test_an_honest_header_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    values = np.arange(4, dtype=np.float32)
    entries = entry([2, 2], [0, 16]) | {"__metadata__": {"format": "pt"}}
    (tmp_path / "model.safetensors").write_bytes(header(entries, values.tobytes()))
    np.testing.assert_array_equal(Checkpoint(tmp_path)["w"], values.reshape(2, 2))


@pytest.mark.parametrize("name", ["../model.safetensors", "/model.safetensors", "model.bin", ""])
def test_an_index_cannot_point_outside(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(header({}))
    index = {"weight_map": {"w": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ModelCorruptError, match="index"):
        Checkpoint(folder)
