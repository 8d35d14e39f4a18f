"""What the tests of the turn are made of: two small documents, a hand-made gate, engines that follow a script."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from assistant.engine.config import EngineConfig
from assistant.engine.engine import Engine
from assistant.grounding import SENTENCE_FEATURES, Candidate
from compression.language.prompt import END
from retrieval.index import Hit
from retrieval.store import Passage

LIBRARY = """# 가람 도서관 이용 안내

## 문 여는 시간

평일에는 오전 9시부터 저녁 8시까지 문을 엽니다. 매주 월요일에는 쉽니다.

## 책 빌리기

책은 한 번에 5권까지 14일 동안 빌릴 수 있다. 연체하면 하루에 100원을 내야 합니다.

## 주차

차는 도서관 뒤편 지하 주차장에 세웁니다. 처음 두 시간은 무료입니다.
"""
GYM = """# 다온 체육관 안내

## 이용료

어른은 한 달에 30,000원을 냅니다. 어린이는 반값입니다.

## 주차

차는 체육관 정문 앞 넓은 마당에 세웁니다.
"""
BOOKS = "책은 한 번에 5권까지 14일 동안 빌릴 수 있다."
POLITE_BOOKS = "책은 한 번에 5권까지 14일 동안 빌릴 수 있습니다."


def write_documents(folder: Path) -> list[Path]:
    """The two documents as files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / "도서관.md": LIBRARY, folder / "체육관.md": GYM}
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    return list(files)


RELATIVE = [
    f"{kind}{name}" for kind in ("", "deviation of ", "below the best ") for name in SENTENCE_FEATURES
]


def write_gate(folder: Path, threshold: float = 0.5) -> Path:
    """A gate without a reader that counts shared words."""
    weights = {
        "overlap": 6.0,
        "overlap_with_heading": 3.0,
        "overlap_passage": 10.0,
        "similarity_with_heading": 2.0,
        "type_match": 1.0,
        "carried_overlap": 2.0,
    }
    values = {"sentence": _linear(RELATIVE, weights, -9.0), "reader": False, "threshold": threshold}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def _linear(names: Sequence[str], weights: dict[str, float], bias: float) -> dict[str, Any]:
    assert weights.keys() <= set(names)
    size = len(names)
    row = [weights.get(name, 0.0) for name in names]
    return {"mean": [0.0] * size, "scale": [1.0] * size, "weights": row, "bias": bias}


class ScriptedSession:
    """A model that is sure of one continuation a prompt; it remembers the prompts."""

    def __init__(self, size: int, scripts: Iterable[Sequence[int]]) -> None:
        self._size, self._scripts, self._script = size, iter(scripts), iter(())
        self.prompts: list[list[int]] = []

    def cached(self, ids: list[int]) -> int:
        return 0

    def prefill(self, ids: list[int], cancelled: Any = None) -> NDArray[np.float32] | None:
        if cancelled is not None and cancelled():
            return None
        self.prompts.append(ids)
        self._script = iter(next(self._scripts, ()))
        return self._logits()

    def forward(self, ids: list[int], rows: int = 1) -> NDArray[np.float32]:
        return self._logits()[None]

    def _logits(self) -> NDArray[np.float32]:
        logits = np.zeros(self._size, np.float32)
        logits[next(self._script, 0)] = 9
        return logits


def scripted(tokenizer: Tokenizer, *answers: str) -> tuple[Engine, ScriptedSession]:
    """An engine that gives the answers one by one, and its session; special tokens may be written in them."""
    size = tokenizer.get_vocab_size()
    scripts = [tokenizer.encode(answer + END, add_special_tokens=False).ids for answer in answers]
    session = ScriptedSession(size, scripts)
    config = EngineConfig(1, 1, 1, size, 1024, frozenset({tokenizer.token_to_id(END)}), 8, 1)
    return Engine(tokenizer, session, config), session  # type: ignore[arg-type]


def candidate(text: str, probability: float, start: int = 0, passage: int = 1) -> Candidate:
    """A sentence of ``도서관.md`` that may answer."""
    place = Passage(
        passage,
        "1" * 32,
        "도서관.md",
        "가람 도서관",
        "이용 > 책 빌리기",
        None,
        start,
        start + len(text),
        text,
        (),
    )
    hit = Hit(place, 0.1, 1.0, 0.5, 1, 1)
    features = np.zeros(len(SENTENCE_FEATURES))
    return Candidate(hit, start, start + len(text), text, "책 빌리기", probability, features)
