from __future__ import annotations

import lzma
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from compression.errors import TrainingDataError
from compression.language.corpus import articles, is_held_out, is_prose, read_jsonl, split_sentences


def test_reads_what_was_written(tmp_path: Path, write: Callable[..., None]) -> None:
    rows = [{"text": "첫째 줄"}, {"text": "둘째\n줄"}]
    write(tmp_path / "rows.jsonl.xz", rows)
    assert list(read_jsonl(tmp_path / "rows.jsonl.xz")) == rows


def test_missing_file_says_which_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match=r"nothing\.jsonl\.xz") as caught:
        next(read_jsonl(tmp_path / "nothing.jsonl.xz"))
    assert "--data" in caught.value.hint


def test_malformed_line_is_named_after_the_good_ones(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.xz"
    path.write_bytes(lzma.compress(b'{"a": 1}\n{"a": \n'))
    rows = read_jsonl(path)
    assert next(rows) == {"a": 1}
    with pytest.raises(TrainingDataError, match="2번째 줄"):
        next(rows)


@pytest.mark.parametrize(
    "content",
    [
        b"this is no xz file",
        lzma.compress(b'{"a": 1}\n' * 9_000, preset=0)[:-40],
        lzma.compress("가".encode("cp949")),
    ],
    ids=["not xz", "cut short", "not utf-8"],
)
def test_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.jsonl.xz"
    path.write_bytes(content)
    with pytest.raises(TrainingDataError, match=r"rows\.jsonl\.xz.*손상"):
        list(read_jsonl(path))


def test_held_out_share_is_about_the_percentage() -> None:
    share = sum(is_held_out(str(number), 5) for number in range(20_000)) / 20_000
    assert 0.045 < share < 0.055
    assert all(is_held_out(str(n), 5) for n in range(20_000) if is_held_out(str(n), 1))


def test_articles_are_on_one_side_only(data: Path) -> None:
    train, held = ({a.id for a in articles(data, 0, side)} for side in (False, True))
    assert len(train) == 12 and len(held) == 2
    assert not train & held


def test_article_text_is_nfc(tmp_path: Path, write: Callable[..., None]) -> None:
    text = unicodedata.normalize("NFD", "한글로 쓴 글이다.")
    write(tmp_path / "text" / "kowiki-0.jsonl.xz", [{"id": "1", "title": "글", "text": text}])
    assert next(articles(tmp_path, 0)).text == "한글로 쓴 글이다."


def test_split_sentences_cuts_at_endings_and_lines_and_drops_fragments() -> None:
    text = "강은 3.5km를 흐른다. 물이 아주 맑다! 짧다.\n새 문단도 문장입니다. 끝을 맺지 않은 마지막 줄"
    assert split_sentences(text) == [
        "강은 3.5km를 흐른다.",
        "물이 아주 맑다!",
        "새 문단도 문장입니다.",
        "끝을 맺지 않은 마지막 줄",
    ]


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        ("강은 산에서 나와 바다로 흐른다. 물은 맑다.", True),
        ("가람, 노을, 다온, 라온, 마루, 바롬, 새별, 아라, 자람, 초롱, 하늬, 윤슬", False),
        ("A river runs from the hills down to the sea. 강이다.", False),
        ("", False),
    ],
)
def test_is_prose(text: str, prose: bool) -> None:
    assert is_prose(text) is prose
