from __future__ import annotations

import json
import lzma
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import corpus, train_encoder
from agents.corpus import Pairs
from agents.encoder import Encoder
from agents.train_encoder import Bags, Recipe
from assistant.evaluation.retrieval import Judged, half_of
from compression.errors import TrainingDataError
from compression.language.corpus import read_jsonl

pytest.importorskip("torch")
pytest.importorskip("sklearn")

THINGS = ["사과", "바다", "기차", "구름", "시계", "나무", "우산", "편지", "의자", "강물"]
DEEDS = ["자란다", "달린다", "멈춘다", "빛난다", "떨어진다", "움직인다", "사라진다", "커진다"]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def sentence(number: int) -> str:
    return f"{THINGS[number % 10]}은 {THINGS[number // 3 % 10]} 옆에서 천천히 {DEEDS[number % 8]}."


def paragraph(number: int) -> str:
    return " ".join(sentence(number + step) for step in range(6))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file that training reads, small and written here."""
    folder = tmp_path_factory.mktemp("data")
    for shard in range(4):
        articles = [
            {"id": str(n), "title": THINGS[n % 10], "text": paragraph(n)} for n in range(shard, 120, 4)
        ]
        write(folder / "text" / f"kowiki-{shard}.jsonl.xz", articles)
    asked = [
        {
            "title": f"{THINGS[n % 10]} {n}",
            "question": f"{THINGS[n % 10]}은 어디서 {DEEDS[n % 8][:-1]}나요 {n}?",
            "context": f"{paragraph(n)} {n}",
            "answers": [{"text": THINGS[n % 10], "answer_start": 0}],
        }
        for n in range(60)
    ]
    write(folder / "qa" / "tydiqa_ko_train.jsonl.xz", asked)
    write(folder / "qa" / "korquad1_articles100.jsonl.xz", asked)
    found = [
        {
            "wiki_id": "5",
            "title": "편지",
            "question": "편지는?",
            "answer": "<a>편지</a>",
            "answer_in_text": True,
        }
    ]
    write(folder / "qa" / "korquad21_questions.jsonl.xz", found)
    write(
        folder / "qa" / "miracl_ko_train.jsonl.xz",
        [
            {
                "qid": str(n),
                "question": f"{THINGS[n % 10]}은 언제 {DEEDS[n % 8][:-1]}나요 {n}?",
                "pos_doc_ids": ["4"],
            }
            for n in range(20)
        ],
    )
    write(
        folder / "qa" / "boolq.jsonl.xz", [{"Question": sentence(n), "Text": paragraph(n)} for n in range(20)]
    )
    welfare = {"text": paragraph(3), "metadata": {"사업명": "우산 나눔", "항목": "내용"}}
    write(folder / "qa" / "welfare_gov.jsonl.xz", [welfare])
    inferences = [
        {"premise": sentence(n), "hypothesis": sentence(n + k), "label": label}
        for n in range(30)
        for k, label in ((1, "entailment"), (2, "contradiction"))
    ]
    for name in ("klue_nli_train", "xnli_ko"):
        write(folder / "pairs" / f"{name}.jsonl.xz", inferences)
    for split in ("train", "dev"):
        scores = [{"a": sentence(n), "b": sentence(n + n % 5), "score": 5 - n % 5} for n in range(60)]
        write(folder / "pairs" / f"korsts_{split}.jsonl.xz", scores)
    write(folder / "pairs" / "parakqc.jsonl.xz", [{"columns": ["0", "0", sentence(n)]} for n in range(20)])
    same = {"question1": sentence(1), "question2": sentence(9), "is_duplicate": "1"}
    write(folder / "pairs" / "question_pair.jsonl.xz", [same])
    write(
        folder / "intent" / "stylekqc.jsonl.xz", [{"split": "train", "text": sentence(n)} for n in range(20)]
    )
    talk = [{"question": sentence(n), "answer": sentence(n + 1)} for n in range(20)]
    write(folder / "intent" / "chatbot.jsonl.xz", talk)
    write(folder / "text" / "nsmc.jsonl.xz", [{"text": sentence(n)} for n in range(50)])
    return folder


def test_training_writes_an_encoder_that_finds_passages(data: Path, tmp_path: Path) -> None:
    recipe = Recipe(vocabulary=120, dimension=16, steps=40, batch=16, sample_characters=10_000)
    figures = train_encoder.train(data, tmp_path / "encoder", recipe)
    assert figures["recall_at_10"] > 10 / figures["passages"]
    encoder = Encoder.load(tmp_path / "encoder")
    assert encoder.dimension == 16
    assert np.linalg.norm(encoder.encode(["사과는 바다 옆에서 자란다"])) == pytest.approx(1, abs=1e-5)


def test_held_out_questions_never_train(data: Path) -> None:
    held_out = {question.text for question in corpus.questions(data) if question.held_out}
    trained = {text for pairs in corpus.question_pairs(data) for text in pairs.anchors}
    assert held_out
    assert not held_out & trained


def test_the_half_of_miracl_that_evaluates_never_trains(data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(data, tmp_path / "data")
    rows = list(read_jsonl(data / "qa" / "miracl_ko_train.jsonl.xz"))
    asked = [
        {"title": row["qid"], "context": paragraph(1), "answers": [{"text": "사과", "answer_start": 0}]} | row
        for row in rows
    ]
    write(folder / "qa" / "tydiqa_ko_train.jsonl.xz", asked)  # the two sets share questions
    found = corpus.wikipedia(folder, random.Random(1), 1, 100)
    trained = {text for pairs in (found.judged, *corpus.question_pairs(folder)) for text in pairs.anchors}
    judged = Judged({row["qid"]: row["question"] for row in rows}, {row["qid"]: {} for row in rows})
    held_out = set(half_of(judged, "held-out").questions.values())
    assert held_out and not held_out & trained
    assert set(half_of(judged, "tuning").questions.values()) & trained


def test_missing_and_malformed_data_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="tydiqa"):
        corpus.questions(tmp_path)
    path = tmp_path / "broken.jsonl.xz"
    path.write_bytes(b"not xz")
    with pytest.raises(TrainingDataError, match="broken"):
        list(corpus.read_jsonl(path))


def test_pairs_drop_what_teaches_nothing() -> None:
    pairs = Pairs("mine", 1.0)
    for anchor, positive in (("가", "가"), ("", "나"), ("다", ""), ("라", "마")):
        pairs.add(anchor, positive)
    assert pairs.anchors == ["라"]


def test_a_cloze_takes_its_words_from_the_title_and_one_sentence() -> None:
    chooser = random.Random(1)
    for number in range(50):
        query, passage = corpus.cloze("제목", paragraph(number), chooser)
        assert any(
            set(query.split()) <= {"제목", *line.split()}
            for line in paragraph(number).split(". ") + [paragraph(number)]
        )
        assert len(passage) <= corpus.PASSAGE_CHARACTERS // 2


def test_around_keeps_the_position_inside() -> None:
    text = "".join(chr(ord("가") + place) for place in range(2000))
    for position in (0, 3, 999, 1999):
        assert text[position] in corpus.around(text, position, 100)
        assert len(corpus.around(text, position, 100)) == 100


def test_bags_give_back_the_texts_in_any_order() -> None:
    ids = np.arange(9, dtype=np.int32)
    bags = Bags(ids, np.array([0, 2, 2, 5, 9]))
    taken, begins = bags.take(np.array([3, 1, 0]))
    assert taken.tolist() == [5, 6, 7, 8, 0, 1]
    assert begins.tolist() == [0, 4, 4]


def test_the_contrastive_loss_falls_when_pairs_agree() -> None:
    import torch

    bag = (np.arange(4, dtype=np.int32), np.arange(4))
    agreeing = torch.nn.EmbeddingBag.from_pretrained(torch.eye(4), mode="mean")
    alike = torch.nn.EmbeddingBag.from_pretrained(torch.ones(4, 4), mode="mean")
    assert float(train_encoder.contrastive_loss(agreeing, (bag, bag), 0.05)) == pytest.approx(0, abs=1e-3)
    assert float(train_encoder.contrastive_loss(alike, (bag, bag), 0.05)) == pytest.approx(
        np.log(4), abs=1e-3
    )
