from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from assistant.evaluation.reading import List, Schedule, Trainer, export_readers
from assistant.reading import AFTER, BEFORE, EARLIER, HEADING, MODEL, QUESTION, SENTENCE, Reader, Text, pack
from compression.errors import ModelCorruptError, ModelMissingError
from compression.reading.model import ReaderModel
from compression.reading.vectors import MORPHEMES, load_vectors, profiles, save_vectors, vectors_from

LOANS = Text(
    "도서관 > 대출", "책은 한 번에 5권까지 빌릴 수 있습니다.", "회원증을 보여 주세요.", "기간은 14일입니다."
)
HOURS = Text("도서관 > 시간", "평일은 9시에 엽니다.", "", "")
FEATURES, DIMENSION = 6, 16


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(MORPHEMES, DIMENSION)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("reader")
    models = [ReaderModel(DIMENSION, FEATURES) for _ in range(2)]
    for model in models:
        torch.nn.init.normal_(model.score.weight)
    export_readers(models, path / MODEL)
    save_vectors(vectors, path / "vectors.safetensors")
    torch.save([model.state_dict() for model in models], path / "weights.pt")
    return path


def test_packing_lays_question_and_surroundings_in_one_row() -> None:
    packed = pack("책을 몇 권 빌려요?", ["회원"], {"책": 5.0}, [LOANS, HOURS])
    assert packed.tags.shape[0] == 2 and packed.tags.shape[1] % 8 == 0
    parts = packed.segments[0][packed.segments[0] > 0]
    assert list(dict.fromkeys(parts.tolist())) == [QUESTION, EARLIER, HEADING, SENTENCE, BEFORE, AFTER]
    assert set(packed.segments[1].tolist()) == {0, QUESTION, EARLIER, HEADING, SENTENCE}
    assert packed.weights[0][0] == pytest.approx(0.5)
    assert (packed.weights[packed.segments >= HEADING] == 0).all()


def test_equal_words_have_equal_numbers_and_particles_equal_no_noun() -> None:
    packed = pack("책은 책이다", [], {}, [Text("", "책이 있다", "", "")])
    row = packed.forms[0]
    book = row[0]
    assert (row == book).sum() == 3
    assert len(set(row[packed.segments[0] == 0])) == (packed.segments[0] == 0).sum()


@pytest.mark.parametrize("question", ["", "ㅋ", "?!", "🙂", "a" * 5000, "무엇 " * 900])
def test_any_question_can_be_packed_and_scored(question: str, folder: Path) -> None:
    packed = pack(question, [], {}, [LOANS, Text("", "", "", "")])
    scores = Reader(folder).scores(packed, np.zeros((2, FEATURES), np.float32), np.zeros(2, np.float32))
    assert scores.shape == (2,) and np.isfinite(scores).all()


@pytest.mark.parametrize("count", [1, 2, 12])
def test_the_exported_readers_score_as_the_trained_ones_on_average(folder: Path, count: int) -> None:
    models = [ReaderModel(DIMENSION, FEATURES).eval() for _ in range(2)]
    for model, weights in zip(models, torch.load(folder / "weights.pt", weights_only=True), strict=True):
        model.load_state_dict(weights)
    packed = pack("책은 몇 권까지 빌려요?", ["회원"], {"책": 3.0}, [LOANS, HOURS] * (count // 2) or [LOANS])
    random = np.random.default_rng(count)
    features = random.normal(size=(count, FEATURES)).astype(np.float32)
    prior = random.normal(size=count).astype(np.float32)
    table, scales = load_vectors(folder / "vectors.safetensors")
    known = np.concatenate([table * scales[:, None], np.zeros((1, DIMENSION), np.float32)]).astype(np.float32)
    arrays = (
        known[packed.morphemes],
        packed.tags,
        packed.forms,
        packed.segments,
        packed.positions,
        packed.weights,
    )
    with torch.no_grad():
        each = [model(*map(torch.from_numpy, (*arrays, features, prior))).numpy() for model in models]
    assert abs(each[0] - each[1]).max() > 1e-3
    expected = np.mean(each, axis=0)
    np.testing.assert_allclose(Reader(folder).scores(packed, features, prior), expected, atol=1e-5)


def test_padding_changes_nothing(folder: Path) -> None:
    alone = pack("몇 시에 열어요?", [], {}, [HOURS])
    beside = pack("몇 시에 열어요?", [], {}, [HOURS, Text("긴 제목 " * 9, "아주 긴 문장이 " * 20, "", "")])
    assert alone.tags.shape[1] < beside.tags.shape[1]
    model = ReaderModel(DIMENSION, FEATURES).eval()
    table = torch.rand(MORPHEMES + 1, DIMENSION)

    def score(packed_rows: int, packed: object) -> float:
        arrays = [getattr(packed, n) for n in ("tags", "forms", "segments", "positions", "weights")]
        morphemes = torch.from_numpy(packed.morphemes)  # type: ignore[attr-defined]
        inputs = [table[morphemes], *map(torch.from_numpy, arrays)]
        rest = torch.zeros(packed_rows, FEATURES), torch.zeros(packed_rows)
        places = torch.arange(packed_rows)[:, None]
        with torch.no_grad():
            return float(model(*inputs, *rest, places)[0])

    assert score(1, alone) == pytest.approx(score(2, beside), abs=1e-5)


def test_a_reader_learns_which_candidate_shares_words(vectors: np.ndarray) -> None:
    """A question of made-up words that one candidate repeats: a few steps are enough to point at it."""
    random = np.random.default_rng(1)
    words = ["사과", "포도", "기차", "하늘", "연필", "시계", "바다", "지갑", "모자", "구두"]

    def example() -> List:
        chosen = random.permutation(words)[:4]
        texts = [Text("", f"{word} 이야기", "", "") for word in chosen]
        right = np.arange(4) == random.integers(4)
        packed = pack(f"{chosen[right.argmax()]}?", [], {}, texts)
        return List.of(packed, right, np.zeros((4, FEATURES), np.float32))

    trainer = Trainer(vectors, FEATURES)
    trainer.learn([example() for _ in range(400)], Schedule(epochs=3, batch=16, rate=3e-3), "test")
    fresh = [example() for _ in range(50)]
    assert (
        np.mean([item.right[s.argmax()] for item, s in zip(fresh, trainer.scores(fresh), strict=True)]) > 0.9
    )


def test_vectors_come_back_from_their_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compression.reading.vectors.MORPHEMES", 60)
    hidden = np.random.default_rng(0).normal(size=(60, 5))
    hidden /= np.linalg.norm(hidden, axis=1, keepdims=True)
    cosines = hidden @ hidden.T
    anchors = list(range(0, 60, 3))

    def similar(anchor: int) -> list[tuple[int, float]]:
        return [(i, float(cosines[anchor, i])) for i in range(60) if i != anchor] + [(999, 1.0)]

    found = vectors_from(profiles(similar, anchors), anchors, 5, rank=5)
    centred = hidden - hidden[anchors].mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(found @ found.T, centred @ centred.T, atol=1e-3)


def test_a_missing_or_damaged_reader_is_reported(tmp_path: Path, folder: Path, vectors: np.ndarray) -> None:
    save_vectors(vectors, tmp_path / "vectors.safetensors")
    with pytest.raises(ModelMissingError):
        Reader(tmp_path)
    (tmp_path / MODEL).write_bytes(b"not a model")
    with pytest.raises(ModelCorruptError):
        Reader(tmp_path)
