from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.encoder import Encoder
from compression.errors import ModelCorruptError, ModelMissingError
from tests.agents.public_data import said, write_data

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("onnx")

from agents import train_student  # noqa: E402
from agents.contextual import LONGEST, ContextualEncoder, open_encoder  # noqa: E402
from agents.train_student import PRESETS, StudentRecipe, export_contextual  # noqa: E402
from agents.transformer import Shape  # noqa: E402
from tests.agents.test_teacher import shaken  # noqa: E402

TEXTS = [said(number, 1 + number % 5) for number in range(40)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def exported(tiny: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_contextual(shaken(tiny), tiny, "tiny", folder / "int8", quantized=True)
    export_contextual(shaken(tiny), tiny, "tiny", folder / "float", quantized=False)
    return folder


def test_the_graph_gives_the_models_vectors(tiny: Encoder, exported: Path) -> None:
    wanted = shaken(tiny).encode(tiny.tokenize(TEXTS))
    np.testing.assert_allclose(open_encoder(exported / "float").encode(TEXTS), wanted, atol=0.03)
    alike = (open_encoder(exported / "int8").encode(TEXTS) * wanted).sum(1)
    assert alike.min() > 0.97


def test_long_empty_and_foreign_texts_have_vectors(exported: Path) -> None:
    encoder = open_encoder(exported / "int8")
    assert isinstance(encoder, ContextualEncoder)
    vectors = encoder.encode(["서류 신청 " * 5000, "", "🙂", "\ud800", "서류"])
    assert np.linalg.norm(vectors, axis=1).round(5).tolist() == [1, 0, 0, 0, 1]
    np.testing.assert_allclose(
        encoder.encode(["서류 신청 " * LONGEST]), encoder.encode(["서류 신청 " * (LONGEST // 2)]), atol=1e-5
    )


def test_damaged_and_missing_files_are_named(exported: Path, tmp_path: Path) -> None:
    for file, error in (("context.onnx", ModelCorruptError), ("distances.safetensors", ModelCorruptError)):
        broken = tmp_path / file
        shutil.copytree(exported / "int8", broken)
        (broken / file).write_bytes(b"x")
        with pytest.raises(error):
            ContextualEncoder.load(broken)
    (tmp_path / "context.onnx" / "distances.safetensors").unlink()
    with pytest.raises(ModelMissingError, match="distances"):
        ContextualEncoder.load(tmp_path / "context.onnx")


def test_the_name_changes_with_the_graph(exported: Path) -> None:
    assert open_encoder(exported / "int8").name != open_encoder(exported / "float").name


def test_a_student_comes_near_its_teacher(tiny: Encoder, data: Path, tmp_path: Path) -> None:
    teacher = shaken(tiny)

    def teach(texts: list[str]) -> np.ndarray:
        return teacher.encode(tiny.tokenize(texts))

    recipe = replace(PRESETS["tiny"], steps=150, learning_rate=1e-2)
    before = train_student.train(data, tmp_path / "a", tiny, teach, replace(recipe, steps=1))
    after = train_student.train(data, tmp_path / "b", tiny, teach, recipe)
    assert after["teacher_cosine"] > before["teacher_cosine"] + 0.1
    assert after["bytes"] == sum(path.stat().st_size for path in (tmp_path / "b" / "encoder").iterdir())


def test_both_kinds_are_plain_sentence_transformers(tiny: Encoder, data: Path, tmp_path: Path) -> None:
    static = StudentRecipe(Shape(width=9, heads=1, layers=0, dimension=9), steps=3, batch=8, prefixes=(4,))
    for name, recipe in (("small", PRESETS["tiny"]), ("static", static)):
        train_student.train(data, tmp_path / name, tiny, tiny.encode, recipe)
        plain = train_student.SentenceTransformerEncoder(str(tmp_path / name / "sentence-transformer"))
        mine = open_encoder(tmp_path / name / "encoder").encode(TEXTS)
        assert (plain.encode(TEXTS) * mine).sum(1).min() > 0.97


def test_no_held_out_line_is_distilled(data: Path) -> None:
    from random import Random

    from agents.labelled import labelled_sets

    sentences = set(train_student.training_sentences(data, Random(0)))
    assert sentences and not sentences & {text for each in labelled_sets(data) for text, _ in each.test}


def test_a_teacher_is_a_run_or_any_sentence_transformer(tiny: Encoder, data: Path, tmp_path: Path) -> None:
    from agents.train_teacher import PRESETS as TEACHERS
    from agents.train_teacher import train

    train(data, tmp_path, tiny, replace(TEACHERS["tiny"], steps=1))
    mine = train_student.teacher_of(str(tmp_path), tiny)(TEXTS)
    plain = train_student.teacher_of(str(tmp_path / "sentence-transformer"), tiny)(TEXTS)
    np.testing.assert_allclose(mine, plain, atol=1e-4)
    assert json.loads((tmp_path / "sentence-transformer" / "modules.json").read_text(encoding="utf-8"))
