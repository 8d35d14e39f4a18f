from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from agents.encoder import Encoder
from assistant import cli
from assistant.evaluation import routing
from assistant.evaluation.routing import LabelledSet, Outcome
from compression.artefacts import models_folder
from tests.agents.public_data import write_data


def test_the_auroc_is_that_of_every_pair() -> None:
    chooser = np.random.default_rng(0)
    inside, outside = chooser.integers(2, 9, 40) / 10, chooser.integers(0, 7, 30) / 10
    pairs = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]
    assert routing.auroc(inside, outside) == pytest.approx(np.mean(pairs))


def test_false_positives_at_a_recall() -> None:
    inside, outside = np.linspace(0.5, 1, 101), np.array([0.1, 0.2, 0.53, 0.9])
    assert routing.false_positives(inside, outside) == 0.5


def test_the_macro_f1_counts_every_class_alike() -> None:
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert routing.macro_f1(predicted, labels) == pytest.approx((0.8 + 2 / 3) / 2)


def test_a_sure_and_right_router_is_calibrated() -> None:
    assert routing.calibration_error(np.ones(5), np.ones(5, bool)) == 0
    assert routing.calibration_error(np.ones(4), np.array([1, 0, 1, 0], bool)) == 0.5


def test_an_adapter_learns_a_set_and_what_is_outside(encoder: Encoder) -> None:
    words = {
        "fruit": ["사과", "배", "포도", "수박", "딸기"],
        "animal": ["고양이", "강아지", "호랑이", "토끼", "말"],
    }
    said = [
        f"{word} {tail}"
        for tail in ("좋아", "있어", "봤어", "줘")
        for word in ("자동차", "기차", "버스", "배편")
    ]
    lines = [
        (f"{word} {tail}", label)
        for label, each in words.items()
        for word in each
        for tail in ("좋아", "있어", "봤어", "줘")
    ]
    outcome = routing.judge_set(LabelledSet("toy", lines[::2], lines[1::2], tuple(said)), encoder)
    found = routing.figures(outcome)
    assert found["accuracy"] >= 0.9 and found["out_of_scope_auroc"] >= 0.8
    assert set(found["classes"]) == set(words)


def test_pictures_are_written(tmp_path: Path) -> None:
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    outcome = Outcome(("a", "b"), np.array([0, 1, 1]), scores, np.zeros(0), np.zeros(0))
    for draw, name in ((routing.confusion_matrix, "c.png"), (routing.reliability_diagram, "r.png")):
        draw(outcome, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def write_set(data: Path, name: str, rows: list[dict[str, object]]) -> None:
    (data / "intent").mkdir(parents=True, exist_ok=True)
    with lzma.open(data / "intent" / f"{name}.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_the_command_reports_every_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    texts = [f"{n}번째 물건 찾아 줘" for n in range(40)]
    sides = ("train", "train", "dev")
    write_set(data, "stylekqc", [
        {"text": t, "topic": n % 2, "act": n % 3 % 2, "split": sides[n % 3]} for n, t in enumerate(texts)
    ])  # fmt: skip
    for name in ("kochat", "3i4k", "klue_tc"):
        write_set(data, name, [{"text": text, "label": n % 2} for n, text in enumerate(texts)])
    write_set(data, "kochat_ood", [{"text": f"심심하다 {n}"} for n in range(20)])
    lines, asked = routing.held_out_lines()[::9], routing.document_questions()[:20]
    monkeypatch.setattr(routing, "held_out_lines", lambda: lines)
    monkeypatch.setattr(routing, "document_questions", lambda: asked)
    with pytest.raises(SystemExit) as exited:
        cli.main(["eval", "routing", "--data", str(data), "--out", str(tmp_path / "out")])
    assert not exited.value.code
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(report["sets"]) == {
        "agents", "document_questions", "stylekqc_topics", "stylekqc_acts", "kochat", "3i4k", "klue_tc",
    }  # fmt: skip
    assert report["p50_ms"] <= report["p99_ms"] and report["encoder_bytes"] > 1_000_000
    assert (
        "out_of_scope_auroc" in report["sets"]["kochat"] and "out_of_scope_auroc" in report["sets"]["agents"]
    )
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == report
    assert len(list((tmp_path / "out").glob("*.png"))) == 14


def test_encoders_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sentence_transformers")
    data, run, embedded = write_data(tmp_path / "data"), tmp_path / "run", models_folder() / "encoder"
    teach = ["train", "teacher", "--preset", "tiny", "--steps", "1", "--data", str(data), "--run", str(run)]
    distil = [
        "train",
        "student",
        "--preset",
        "tiny",
        "--steps",
        "1",
        "--data",
        str(data),
        "--teacher",
        str(run),
    ]
    compare = ["eval", "routing", "--data", str(data), "--out", str(tmp_path / "out")]
    for place in (run, tmp_path / "student" / "encoder", embedded):
        compare += ["--encoder", str(place)]
    for command in (teach, [*distil, "--run", str(tmp_path / "student")], compare):
        with pytest.raises(SystemExit) as exited:
            cli.main(command)
        assert not exited.value.code
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    teacher, student, static = report["encoders"]
    assert set(teacher["retained"].values()) == {1.0}
    assert student["bytes"] < static["bytes"] < 10_000_000 and student["retained"]["bytes"] < 1
    assert set(static["sets"]) == {"stylekqc_topics", "stylekqc_acts", "kochat", "3i4k", "klue_tc"}
    assert -1 <= static["korsts_dev_spearman"] <= 1 and static["p50_ms"] <= static["p99_ms"]
    assert json.loads((tmp_path / "out" / "encoders.json").read_text(encoding="utf-8")) == report
