from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from retrieval.chunking import Chunk, chunk
from retrieval.errors import DocumentError
from retrieval.readers import SourceText, parse


def cut(markdown: str, **options: int) -> tuple[SourceText, list[Chunk]]:
    source = parse(markdown.encode(), "글.md")
    return source, chunk(source, **options)


def test_sections_are_never_merged_and_headings_are_no_text() -> None:
    source, chunks = cut("## 가\n짧아요.\n\n## 나\n짧아요.\n\n둘째예요.")
    assert [(c.section, source.text[c.start : c.end]) for c in chunks] == [
        ("가", "짧아요."),
        ("나", "짧아요.\n\n둘째예요."),
    ]


def test_long_sections_are_cut_between_sentences() -> None:
    source, chunks = cut("## 가\n" + "이 문장은 스무 글자쯤 되는 문장입니다. " * 60, target_chars=200)
    assert len(chunks) > 3
    assert all(c.end - c.start <= 250 for c in chunks)
    assert all(source.text[c.start : c.end].endswith("문장입니다.") for c in chunks)


def test_small_tables_stay_whole_and_large_ones_break_between_rows() -> None:
    rows = "| 이름 | 값 |\n|--|--|\n" + "".join(f"| 항목 {i}. 설명 | {i}원 |\n" for i in range(30))
    source, chunks = cut(f"머리말입니다. 충분히 긴 머리말이에요.\n\n{rows}", target_chars=100)
    assert [len(c.sentences) for c in chunks] == [2, 30]
    assert source.text[slice(*chunks[1].sentences[0])] == "이름: 항목 0. 설명, 값: 0원"
    _, pieces = cut(rows, target_chars=100, table_chars=200)
    assert len(pieces) > 3


def test_a_heading_with_nothing_under_it_is_still_found() -> None:
    source, chunks = cut("## 가\n글.\n\n## 매주 월요일 휴관")
    assert [source.text[c.start : c.end] for c in chunks] == ["글.", "매주 월요일 휴관"]


def test_a_list_passage_starts_with_its_marker() -> None:
    source, chunks = cut("## 순서\n1. 켠다\n2. 끈다")
    assert source.text[chunks[0].start : chunks[0].end] == "1. 켠다\n2. 끈다"
    assert [source.text[a:b] for a, b in chunks[0].sentences] == ["켠다", "끈다"]


_MARKDOWN = st.lists(
    st.sampled_from(
        [
            "# 큰 제목",
            "## 제목",
            "### 작은 제목",
            "글입니다. 또 글이에요.",
            "- 항목",
            "| a | b |\n|-|-|\n| 1 | 2 |",
            "",
            "긴 글 " * 150,
        ]
    )
    | st.text(max_size=60)
).map("\n".join)


@given(_MARKDOWN, st.sampled_from([".md", ".txt"]))
def test_passages_lie_in_order_within_their_section(text: str, extension: str) -> None:
    try:
        source = parse(text.encode("utf-8", "replace"), "글" + extension)
    except DocumentError:
        return
    chunks = chunk(source)
    end = 0
    for passage in chunks:
        assert end <= passage.start <= passage.sentences[0][0]
        assert passage.sentences[-1][1] == passage.end <= len(source.text)
        sections = {b.section for b in source.blocks if b.start < passage.end and b.end > passage.start}
        assert sections == {passage.section}
        end = passage.end
    covered = "".join(source.text[c.start : c.end] for c in chunks)
    bodies = "".join(source.text[b.start : b.end] for b in source.blocks if b.kind != "heading")
    assert {c for c in bodies if c.isalpha()} <= {c for c in covered if c.isalpha()}
