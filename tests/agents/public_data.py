"""A data folder as training commands read it, small and written here."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

from tests.agents.conftest import WORDS


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def said(number: int, words: int = 3) -> str:
    """A different text of known words for every number."""
    return " ".join(WORDS[number // 12**place % 12] for place in range(words))


def write_data(folder: Path) -> Path:
    """Every file that teacher and student read."""
    asked = [
        {"title": f"{n}", "question": said(n), "context": said(n + 7, 6), "answers": [{"answer_start": 0}]}
        for n in range(40)
    ]
    for name in ("tydiqa_ko_train", "korquad1_articles100"):
        write(folder / "qa" / f"{name}.jsonl.xz", asked)
    judged = [{"qid": f"{n}", "question": said(n), "pos_doc_ids": ["1"]} for n in range(4)]
    write(folder / "qa" / "miracl_ko_train.jsonl.xz", judged)
    boolq = [{"Question": said(n), "Text": said(n + 3, 6)} for n in range(20)]
    write(folder / "qa" / "boolq.jsonl.xz", boolq)
    welfare = [{"text": said(n, 5), "metadata": {"사업명": said(n + 50)}} for n in range(4)]
    write(folder / "qa" / "welfare_gov.jsonl.xz", welfare)
    inferences = [
        {"premise": said(n), "hypothesis": said(n + k), "label": label}
        for n in range(30)
        for k, label in ((100, "entailment"), (200, "contradiction"))
    ]
    write(folder / "pairs" / "klue_nli_train.jsonl.xz", inferences)
    for split in ("train", "dev"):
        scores = [{"a": said(n), "b": said(n + n % 5 * 200), "score": 5 - n % 5} for n in range(60)]
        write(folder / "pairs" / f"korsts_{split}.jsonl.xz", scores)
    write(folder / "pairs" / "parakqc.jsonl.xz", [{"columns": ["0", "0", said(n)]} for n in range(20)])
    write(
        folder / "pairs" / "question_pair.jsonl.xz",
        [{"question1": said(1), "question2": said(9), "is_duplicate": "1"}],
    )
    style = [
        {"text": said(n), "topic": n % 2, "act": n // 2 % 2, "split": "dev" if n % 5 == 0 else "train"}
        for n in range(60)
    ]
    write(folder / "intent" / "stylekqc.jsonl.xz", style)
    for place, name in enumerate(("kochat", "3i4k", "klue_tc")):
        lines = [{"text": said(n + 300 * place + 300), "label": n % 2} for n in range(60)]
        write(folder / "intent" / f"{name}.jsonl.xz", lines)
    write(folder / "intent" / "kochat_ood.jsonl.xz", [{"text": said(n + 1500)} for n in range(20)])
    talk = [{"question": said(n), "answer": said(n + 1)} for n in range(20)]
    write(folder / "intent" / "chatbot.jsonl.xz", talk)
    write(folder / "text" / "nsmc.jsonl.xz", [{"text": said(n)} for n in range(50)])
    return folder
