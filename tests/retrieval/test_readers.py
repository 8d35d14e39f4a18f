from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import (
    DocumentError,
    DocumentTooLargeError,
    EmptyDocumentError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from retrieval.readers import SourceText, document_name, parse, read
from retrieval.readers.decoding import MAX_BYTES

RULES = """사내 휴가 규정
모두가 쉬도록 정한 글입니다.

제1장 총칙
제1조(목적) 이 규정은 휴가를 정함을 목적으로 한다.
제2조(휴가) 직원은 연 15일의 휴가를 갖는다.
제3조에 따라 반차도 쓴다.

1. 구비 서류
1) 신분증
2) 통장 사본
2. 방법
- 온라인으로
  신청해요.
- 방문해요.

1. 첫째
2. 둘째
3. 셋째

■ 접수
평일에 받아요.
[문의]
총무팀
"""

GUIDE = """---
owner: 나
---
# 청년 월세 지원

안내 **"강조"**는 [링크](http://example.com)와 `코드`, <b>굵게</b>.

## 지원 금액
- [x] 매월 *20만 원*
  1. 신청한다
  2. 기다린다

| 구분 | 금액 |
|:--|--:|
| 1인 | **20만** 원 |
| 2인 | 30만<br>원 |
| 3인 |  |

### 예외
> 인용한 글

```
코드 # 그대로
```
<!-- 숨은 말 -->

## 문의
전화: 1234
시간: 9시
"""


def blocks(source: SourceText) -> list[tuple[str, str, str]]:
    return [(block.kind, block.section, source.text[block.start : block.end]) for block in source.blocks]


def test_plain_text_structure() -> None:
    source = parse(RULES.encode(), "휴가.txt")
    top = "제1장 총칙"
    assert source.title == "사내 휴가 규정"
    assert [b for b in blocks(source) if b[0] != "heading"] == [
        ("paragraph", "", "모두가 쉬도록 정한 글입니다."),
        ("paragraph", f"{top} > 제1조(목적)", "이 규정은 휴가를 정함을 목적으로 한다."),
        ("paragraph", f"{top} > 제2조(휴가)", "직원은 연 15일의 휴가를 갖는다.\n제3조에 따라 반차도 쓴다."),
        ("list", f"{top} > 1. 구비 서류", "1) 신분증\n2) 통장 사본"),
        ("list", f"{top} > 2. 방법", "- 온라인으로 신청해요.\n- 방문해요.\n1. 첫째\n2. 둘째\n3. 셋째"),
        ("paragraph", f"{top} > ■ 접수", "평일에 받아요."),
        ("paragraph", f"{top} > [문의]", "총무팀"),
    ]


def test_markdown_structure_without_markup() -> None:
    source = parse(GUIDE.encode(), "월세.md")
    assert source.title == "청년 월세 지원"
    assert [b for b in blocks(source) if b[0] != "heading"] == [
        ("paragraph", "", '안내 "강조"는 링크와 코드, 굵게.'),
        ("list", "지원 금액", "매월 20만 원\n1. 신청한다\n2. 기다린다"),
        ("table", "지원 금액", "구분: 1인, 금액: 20만 원\n구분: 2인, 금액: 30만 원\n구분: 3인"),
        ("paragraph", "지원 금액 > 예외", "인용한 글"),
        ("paragraph", "지원 금액 > 예외", "코드 # 그대로"),
        ("paragraph", "문의", "전화: 1234\n시간: 9시"),
    ]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# 하나\n글\n# 둘\n글", "이름"),
        ("## 작은 제목\n글", "이름"),
        ("## 작은 제목\n# 큰 제목\n글", "이름"),
        ("제목\n===\n글", "제목"),
    ],
)
def test_markdown_title(text: str, title: str) -> None:
    assert parse(text.encode(), "이름.md").title == title


@pytest.mark.parametrize("first", ["오늘은 쉬어요.", "- 항목", "이름: 담소", "[안내]"])
def test_a_first_line_of_another_kind_is_no_title(first: str) -> None:
    source = parse(f"{first}\n둘째 줄은 내용입니다.".encode(), "이름.txt")
    assert source.title == "이름"


@pytest.mark.parametrize(("first", "kind"), [("회의 3월 2일", "paragraph"), ("청정기 A5 설명서", "heading")])
def test_a_title_with_a_fact_is_a_passage_too(first: str, kind: str) -> None:
    source = parse(f"{first}\n\n둘째 줄은 내용입니다.".encode(), "이름.txt")
    assert source.title == first
    assert blocks(source)[0] == (kind, "", first)


def test_hard_wrapped_lines_are_joined_and_short_ones_are_not() -> None:
    wrapped = (
        "이 안내문은 한 줄의 길이를 여든 칸에 맞추어 줄을 바꾼 오래된 방식의 글이라서\n문장이 이어집니다."
    )
    assert "글이라서 문장이" in parse(wrapped.encode(), "a.txt").text
    assert "글이라서 문장이" in parse(wrapped.encode(), "a.md").text
    assert parse("짧은 줄\n다음 줄입니다.".encode(), "a.md").text == "짧은 줄\n다음 줄입니다."


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_give_one_text(encoding: str, newline: str) -> None:
    assert parse(RULES.replace("\n", newline).encode(encoding), "a.txt") == parse(RULES.encode(), "a.txt")


def test_nfd_text_and_name_become_nfc(tmp_path: Path) -> None:
    path = tmp_path / unicodedata.normalize("NFD", "휴가.txt")
    path.write_text(unicodedata.normalize("NFD", RULES), encoding="utf-8")
    assert read(path) == parse(RULES.encode(), "휴가.txt")
    assert document_name(path) == "휴가.txt"


def test_bad_files_say_what_is_wrong(tmp_path: Path) -> None:
    cases: dict[str, tuple[bytes, type[DocumentError], str]] = {
        "zero.txt": (b"", EmptyDocumentError, "글이 없"),
        "blank.md": (b" \n\t\n", EmptyDocumentError, "글이 없"),
        "marks.md": (b"---\n\n***\n", EmptyDocumentError, "글이 없"),
        "hidden.md": ("<!-- 숨은 말 -->".encode(), EmptyDocumentError, "글이 없"),
        "binary.txt": (b"PK\x03\x04\x00\x00" * 50, UnreadableFileError, "다른 형식"),
        "escape.txt": (b"abc\x08def", UnreadableFileError, "다른 형식"),
        "broken.txt": ("가나".encode() + b"\xff\xff\x81", UnreadableFileError, "인코딩"),
        "odd.txt": (b"\xff\xfea", UnreadableFileError, "인코딩"),
        "large.txt": (b"a" * (MAX_BYTES + 1), DocumentTooLargeError, "20 MB"),
        "paper.doc": (b"x", UnsupportedFormatError, "옛 형식"),
        "paper.docm": (b"x", UnreadableFileError, "매크로"),
        "paper.odt": (b"x", UnsupportedFormatError, ".hwp, .hwpx"),
        "scan.jpg": (b"x", UnsupportedFormatError, "그림"),
        "noextension": (b"x", UnsupportedFormatError, ".hwp, .hwpx"),
    }
    for name, (data, error, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(error, match=message):
            read(tmp_path / name)


def test_paths_that_are_no_readable_file(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    for name in ("folder.txt", "pipe.txt", "missing.txt", "nul\0.txt", "가" * 300 + ".txt"):
        with pytest.raises(UnreadableFileError):
            read(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("글")
    path.chmod(0)
    with pytest.raises(UnreadableFileError, match="권한"):
        read(path)


@given(st.text())
def test_names_are_printable_nfc(name: str) -> None:
    label = document_name(Path("x" + name.replace("/", "").replace("\0", "")))
    assert label.isprintable() or all(c.isprintable() or unicodedata.category(c) != "Cc" for c in label)
    assert label == unicodedata.normalize("NFC", label)
    assert not set(label) & set("\u202e\u2066\u200f")
    label.encode()


@given(st.text(), st.sampled_from([".txt", ".md"]))
def test_any_text_reads_into_ordered_blocks(text: str, extension: str) -> None:
    try:
        source = parse(text.encode("utf-8", "replace"), "이름" + extension)
    except DocumentError:
        return
    end = 0
    for block in source.blocks:
        assert end <= block.start < block.end <= len(source.text)
        end = block.end
    assert "\r" not in source.text
    if extension == ".txt":
        squeezed = {c for c in unicodedata.normalize("NFC", text) if c.isalnum()}
        assert squeezed <= set(source.text)


@given(st.binary(max_size=200), st.sampled_from([".txt", ".md"]))
def test_any_bytes_read_or_are_refused(data: bytes, extension: str) -> None:
    try:
        assert parse(data, "이름" + extension).text
    except DocumentError as error:
        assert error.message
        assert error.hint


@pytest.mark.parametrize(
    "text", ["> " * 500 + "글", "- " * 300 + "글", "[" * 3000 + "글", "*a_ " * 2000, "|글" * 3000]
)
def test_deeply_nested_markdown_ends(text: str) -> None:
    try:
        parse(text.encode(), "a.md")
    except EmptyDocumentError:
        return
