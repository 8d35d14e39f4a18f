from __future__ import annotations

import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from agents.encoder import Encoder
from compression.errors import ModelCorruptError, ModelMissingError


def test_vectors_are_the_normalised_sum_of_rows(tiny: Encoder, tiny_folder: Path) -> None:
    tensors = load_file(tiny_folder / "encoder.safetensors")
    rows = tensors["table"].astype(np.float32) * tensors["scales"].astype(np.float32)[:, None]
    expected = rows[3] + rows[4]
    vector = tiny.encode(["서류 신청"])
    assert vector.dtype == np.float32
    assert vector.shape == (1, tiny.dimension)
    np.testing.assert_allclose(vector[0], expected / np.linalg.norm(expected), rtol=1e-5)


def test_no_texts_give_no_rows(tiny: Encoder) -> None:
    assert tiny.encode([]).shape == (0, tiny.dimension)


@pytest.mark.parametrize("text", ["", "   ", "😀", "今日は", "qwerty", "\ud800"])
def test_unknown_text_is_the_zero_vector(tiny: Encoder, text: str) -> None:
    assert not tiny.encode([text]).any()


def test_unknown_subwords_do_not_move_a_vector(tiny: Encoder) -> None:
    known, mixed = tiny.encode(["서류 신청", "서류 😀 신청"])
    np.testing.assert_allclose(known, mixed, rtol=1e-6)


def test_decomposed_hangul_is_the_same_text(tiny: Encoder) -> None:
    composed, decomposed = tiny.encode(["서류 신청", unicodedata.normalize("NFD", "서류 신청")])
    np.testing.assert_array_equal(composed, decomposed)


def test_a_batch_equals_one_by_one(tiny: Encoder) -> None:
    texts = ["서류", "", "신청은 어떻게", "얼마예요?"] * 100
    together = tiny.encode(texts)
    np.testing.assert_array_equal(together, np.concatenate([tiny.encode([text]) for text in texts]))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec=None), max_size=40), max_size=5))
def test_any_text_gives_unit_or_zero_rows(tiny: Encoder, texts: list[str]) -> None:
    lengths = np.linalg.norm(tiny.encode(texts), axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))


def test_ten_thousand_characters(tiny: Encoder) -> None:
    vector = tiny.encode(["서류 신청은 어떻게 " * 1000])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("file", ["encoder.safetensors", "tokenizer.json", "config.json"])
def test_a_missing_file_is_named(tiny_folder: Path, tmp_path: Path, file: str) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    (folder / file).unlink()
    with pytest.raises(ModelMissingError, match=file):
        Encoder.load(folder)


@pytest.mark.parametrize("file", ["encoder.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("content", [b"", b"\x80broken", b"\xff" * 64])
def test_a_damaged_file_is_named(tiny_folder: Path, tmp_path: Path, file: str, content: bytes) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    (folder / file).write_bytes(content)
    with pytest.raises(ModelCorruptError, match=file):
        Encoder.load(folder)


def test_files_that_do_not_belong_together(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    tensors = load_file(folder / "encoder.safetensors")
    save_file(
        {"table": tensors["table"][:4], "scales": tensors["scales"][:4]}, folder / "encoder.safetensors"
    )
    with pytest.raises(ModelCorruptError):
        Encoder.load(folder)
    save_file({"table": tensors["table"], "scales": tensors["scales"][:4]}, folder / "encoder.safetensors")
    with pytest.raises(ModelCorruptError):
        Encoder.load(folder)


def test_the_name_changes_with_the_weights(tiny: Encoder, tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
    assert Encoder.load(folder).name == tiny.name
    tensors = load_file(folder / "encoder.safetensors")
    tensors["table"] = -tensors["table"]
    save_file(tensors, folder / "encoder.safetensors")
    assert Encoder.load(folder).name != tiny.name
    assert tiny.name.startswith("tiny@")


def test_the_configuration_says_the_dimension(tiny_folder: Path) -> None:
    assert json.loads((tiny_folder / "config.json").read_text(encoding="utf-8"))["dimension"] == 8


def test_serving_imports_no_training_library() -> None:
    code = (
        "import sys, agents.router; heavy = {'torch', 'transformers', 'sklearn', 'peft', 'matplotlib'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
