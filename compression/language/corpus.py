"""Reading training text: `.jsonl.xz` files, Wikipedia articles and their sentences, the held-out hash."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.errors import TrainingDataError

_SENTENCE_END = re.compile(r"(?<=[다요음함임까][.!?])\s+|\n+")
_HANGUL = re.compile(r"[가-힣]")
_AGAIN = "파일을 다시 받아 주세요."


@dataclass(frozen=True)
class Article:
    """One encyclopedia article: its id, title and NFC text."""

    id: str
    title: str
    text: str


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a `.jsonl.xz` file, one a line.

    Raises:
        TrainingDataError: the file is missing, is not an xz file, or a line is not JSON.
    """
    if not path.exists():
        raise TrainingDataError(f"학습 자료 {path.name}이(가) 없습니다.", "--data로 자료 폴더를 알려 주세요.")
    number = 0
    try:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):  # noqa: B007
                yield json.loads(line)
    except json.JSONDecodeError as error:
        raise TrainingDataError(f"{path.name}의 {number}번째 줄을 읽을 수 없습니다.", _AGAIN) from error
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"학습 자료 {path.name}이(가) 손상되었습니다.", _AGAIN) from error


def is_held_out(identifier: str, percent: float = 1.0) -> bool:
    """Whether an article is kept out of training, by a hash of its id."""
    digest = hashlib.sha256(identifier.encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 < percent / 100


def articles(data: Path, shard: int, held_out: bool = False) -> Iterator[Article]:
    """Articles of one of the four Wikipedia shards, training or held-out side."""
    for item in read_jsonl(data / "text" / f"kowiki-{shard}.jsonl.xz"):
        if is_held_out(item["id"]) == held_out:
            yield Article(item["id"], item["title"], unicodedata.normalize("NFC", item["text"]))


def split_sentences(text: str) -> list[str]:
    """Sentences of running text, by final endings and line breaks; short fragments are dropped."""
    return [part.strip() for part in _SENTENCE_END.split(text) if len(_HANGUL.findall(part)) >= 6]


def is_prose(text: str) -> bool:
    """Whether the text reads as prose: enough Hangul and full sentences, not a list of names."""
    letters = len(_HANGUL.findall(text))
    return letters > 0.45 * len(text) and text.count("다.") >= len(text) / 160
