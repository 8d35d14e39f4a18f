from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.encoder import Encoder
from compression.errors import TrainingDataError
from tests.agents.conftest import WORDS
from tests.agents.public_data import said, write_data

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agents import train_teacher  # noqa: E402
from agents.train_teacher import PRESETS  # noqa: E402
from agents.transformer import BALLAST, SentenceModel, Shape, bucket, starting_rows  # noqa: E402

TEXTS = [said(number, 1 + number % 5) for number in range(30)]
TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def model_of(encoder: Encoder, shape: Shape) -> SentenceModel:
    torch.manual_seed(0)
    return SentenceModel(starting_rows(encoder, shape.width, TEXTS), shape).eval()


def shaken(encoder: Encoder, shape: Shape = TINY.shape) -> SentenceModel:
    """A model whose every part says something."""
    model = model_of(encoder, shape)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "rows" not in name and weight.dim() > 1:
                weight.add_(torch.randn_like(weight) * 0.3)
    return model


def test_it_starts_as_the_static_encoder(tiny: Encoder) -> None:
    model = model_of(tiny, Shape(width=9, heads=3, layers=2, inner=16, dimension=9))
    mine, static = model.encode(tiny.tokenize(TEXTS)), tiny.encode(TEXTS)
    np.testing.assert_allclose(mine @ mine.T, static @ static.T, atol=0.05)


def test_once_trained_it_sees_order(tiny: Encoder) -> None:
    first, second = shaken(tiny).encode(tiny.tokenize(["서류 신청 얼마", "얼마 신청 서류"]))
    assert float(first @ second) < 0.999
    assert np.array_equal(*tiny.encode(["서류 신청 얼마", "얼마 신청 서류"]).round(6))


def test_neighbours_in_a_batch_do_not_matter(tiny: Encoder) -> None:
    model, tokens = shaken(tiny), tiny.tokenize(TEXTS)
    together = model.encode(tokens)
    alone = np.concatenate([model.encode([each]) for each in tokens])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_an_empty_text_has_no_vector(tiny: Encoder) -> None:
    assert not shaken(tiny).encode(tiny.tokenize([""])).any()


def test_buckets_are_those_of_t5() -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    distances = torch.arange(-200, 201)
    wanted = T5Attention._relative_position_bucket(distances, True, 32, 128)
    assert torch.equal(bucket(distances), wanted)


def test_training_stopped_and_resumed_comes_to_the_same(tiny: Encoder, data: Path, tmp_path: Path) -> None:
    whole = train_teacher.train(data, tmp_path / "whole", tiny, TINY)
    assert whole["step"] == TINY.steps and np.isfinite(whole["korsts_dev_spearman"])
    assert train_teacher.train(data, tmp_path / "parts", tiny, TINY, minutes=0)["step"] == 0
    stops = iter([0.0, 0.0, 0.0, 1e9])  # the clock: one step, then time is up
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_teacher.time, "monotonic", lambda: next(stops, 1e9))
        stopped = train_teacher.train(data, tmp_path / "parts", tiny, TINY, minutes=1)
    assert 0 < stopped["step"] < TINY.steps
    train_teacher.train(data, tmp_path / "parts", tiny, TINY)
    one, two = (train_teacher.load_teacher(tmp_path / name) for name in ("whole", "parts"))
    for name, weight in one.state_dict().items():
        torch.testing.assert_close(weight, two.state_dict()[name])


def test_a_run_of_another_size_is_refused(tiny: Encoder, data: Path, tmp_path: Path) -> None:
    train_teacher.train(data, tmp_path, tiny, TINY, minutes=0)
    wider = replace(TINY, shape=replace(TINY.shape, inner=24))
    with pytest.raises(TrainingDataError, match="이어서"):
        train_teacher.train(data, tmp_path, tiny, wider)


def test_the_loss_of_a_task_falls(tiny: Encoder, data: Path, tmp_path: Path) -> None:
    recipe = replace(TINY, steps=150, batch=32, labels=1.0, similar=0.0, learning_rate=2e-2)
    before = train_teacher.train(data, tmp_path / "a", tiny, replace(recipe, steps=1))["loss"]
    assert train_teacher.train(data, tmp_path / "b", tiny, recipe)["loss"] < before


def test_the_folder_is_a_plain_sentence_transformer(tiny: Encoder, tmp_path: Path) -> None:
    from agents.transformer import save_sentence_transformer

    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer

    for shape in (TINY.shape, replace(TINY.shape, dimension=6)):
        model, folder = shaken(tiny, shape), tmp_path / str(shape.dimension)
        save_sentence_transformer(model, tiny.tokenizer, folder)
        loaded = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, show_progress_bar=False)
        np.testing.assert_allclose(loaded, model.encode(tiny.tokenize(TEXTS)), atol=1e-4)


def test_the_ballast_is_no_part_of_the_vector(tiny: Encoder) -> None:
    model = model_of(tiny, Shape(width=9, heads=3, layers=0, dimension=9))
    assert not model.encode(tiny.tokenize(TEXTS))[:, -1].any()
    assert np.linalg.norm(model.rows.weight.detach().numpy(), axis=1).max() < BALLAST
    assert len(WORDS) + 1 == len(model.rows.weight)
