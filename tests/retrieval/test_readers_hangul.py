from __future__ import annotations

import unicodedata

import pytest

from retrieval.errors import DocumentError, DocumentTooLargeError, EmptyDocumentError, UnreadableFileError
from retrieval.readers import SourceText, parse
from tests.retrieval.hangul_files import (
    deflated,
    extended,
    hwp,
    hwp_table,
    hwpx,
    hwpx_table,
    p,
    paragraph,
    record,
)

FEES = [["구분", "금액"], ["1인 가구", "20만 원"], ["2인 가구", "30만\n원"]]
ROWS = "구분: 1인 가구, 금액: 20만 원\n구분: 2인 가구, 금액: 30만 원"


def blocks(source: SourceText) -> list[tuple[str, str, str]]:
    found = [(block.kind, block.section, source.text[block.start : block.end]) for block in source.blocks]
    return [block for block in found if block[0] != "heading"]


@pytest.mark.parametrize("flags", [0, 1])
def test_hwp_structure(flags: int) -> None:
    data = hwp(
        paragraph(extended(2, "secd") + "청년 월세 지원")
        + paragraph("1. 지원 금액")
        + paragraph("아래 표와 같아요." + extended(11))
        + hwp_table(FEES, caption="단위는 원입니다."),
        paragraph("2. 신청 방법") + paragraph("- 온라인") + paragraph("- 방문") + paragraph("문의는 구청에 해요."),
        flags=flags,
    )  # fmt: skip
    source = parse(data, "월세.hwp")
    assert source.title == "청년 월세 지원"
    assert blocks(source) == [
        ("paragraph", "1. 지원 금액", "아래 표와 같아요."),
        ("paragraph", "1. 지원 금액", "단위는 원입니다."),
        ("table", "1. 지원 금액", ROWS),
        ("list", "2. 신청 방법", "- 온라인\n- 방문"),
        ("paragraph", "2. 신청 방법", "문의는 구청에 해요."),
    ]


def test_hwp_outline_headings_are_sections() -> None:
    body = (
        paragraph("안내", shape=1)
        + paragraph("대상", shape=2)
        + paragraph("청년이에요.")
        + paragraph("방법", shape=1)
        + paragraph("신청해요.")
    )
    source = parse(hwp(body, outline=(0, 1)), "월세.hwp")
    assert source.title == "월세"
    assert blocks(source) == [
        ("paragraph", "안내 > 대상", "청년이에요."),
        ("paragraph", "방법", "신청해요."),
    ]


def test_hwp_control_characters_are_skipped() -> None:
    note = record(71, 1, b"  nf" + bytes(4)) + record(72, 2, bytes(8)) + paragraph("각주 글이에요.", 2)
    head = record(71, 1, b"daeh" + bytes(4)) + record(72, 2, bytes(8)) + paragraph("머리말", 2)
    odd = extended(17) + "가" + extended(9) + "나\x1e다\x18라\x0a마😀" + extended(3)
    source = parse(hwp(paragraph(odd) + note + head + paragraph("끝이에요.")), "a.hwp")
    assert source.text.split("\n\n") == ["가 나 다-라\n마😀", "각주 글이에요.", "끝이에요."]


def test_hwp_large_streams_and_records() -> None:
    long = "이 문단은 아주 길어서 한 기록의 크기를 따로 적어야 해요. " * 200
    lines = "".join(f"줄 {number}번이에요.\n" for number in range(2000)).split("\n")
    source = parse(hwp(paragraph(long), b"".join(map(paragraph, lines)), flags=0), "a.hwp")
    assert long.strip() in source.text
    assert "줄 1999번이에요." in source.text


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (hwp(paragraph("글"), flags=3), UnreadableFileError, "암호"),
        (hwp(paragraph("글"), flags=5), UnreadableFileError, "배포용"),
        (b"HWP Document File V3.00 \x1a\x01\x02", UnreadableFileError, "한글 97"),
        (b"PK\x03\x04" + bytes(99), UnreadableFileError, "한글 문서가 아니"),
        (hwp(paragraph("글이에요"))[:1600], UnreadableFileError, "깨졌거나"),
        (hwp(paragraph("")), EmptyDocumentError, "글이 없"),
        (hwp(bytes(80 * 2**20)), DocumentTooLargeError, "압축"),
    ],
)
def test_bad_hwp_says_what_is_wrong(data: bytes, error: type[DocumentError], message: str) -> None:
    with pytest.raises(error, match=message):
        parse(data, "이름.hwp")


def test_hwp_damaged_compression() -> None:
    good = deflated(paragraph("글이에요." * 50))
    data = hwp(paragraph("글이에요." * 50))
    broken = data.replace(good, b"\xff" * len(good))
    assert broken != data
    with pytest.raises(UnreadableFileError, match="깨졌거나"):
        parse(broken, "a.hwp")


def test_hwpx_structure() -> None:
    box = f"<hp:rect><hp:drawText><hp:subList>{p('상자 글이에요.')}</hp:subList></hp:drawText></hp:rect>"
    head = f"<hp:ctrl><hp:header><hp:subList>{p('머리말')}</hp:subList></hp:header></hp:ctrl>"
    data = hwpx(
        p("청년 월세 지원", 0, head)
        + p("1. 지원 금액")
        + p("아래 표와<hp:lineBreak/>같아<hp:markpenBegin/>요.", 0, hwpx_table(FEES) + box),
        p("2. 신청 방법")
        + p("- 온라인")
        + p("- 방문")
        + p(unicodedata.normalize("NFD", "문의는 구청에 해요.")),
    )
    source = parse(data, "월세.hwpx")
    assert source.title == "청년 월세 지원"
    assert blocks(source) == [
        ("paragraph", "1. 지원 금액", "아래 표와\n같아요."),
        ("table", "1. 지원 금액", ROWS),
        ("paragraph", "1. 지원 금액", "상자 글이에요."),
        ("list", "2. 신청 방법", "- 온라인\n- 방문"),
        ("paragraph", "2. 신청 방법", "문의는 구청에 해요."),
    ]


def test_hwpx_outline_headings_and_many_sections() -> None:
    parts = [p(f"장 {number}", 1) + p(f"내용 {number}이에요.") for number in range(12)]
    source = parse(hwpx(*parts, outline=(0,)), "a.hwpx")
    assert [section for _, section, _ in blocks(source)] == [f"장 {number}" for number in range(12)]


def test_hwpx_with_a_password() -> None:
    manifest = b"<odf:manifest><odf:encryption-data/></odf:manifest>"
    with pytest.raises(UnreadableFileError, match="암호"):
        parse(hwpx("", extra={"META-INF/manifest.xml": manifest}), "a.hwpx")


def test_a_box_around_text_is_no_table() -> None:
    assert blocks(parse(hwpx(p("글이에요.", 0, hwpx_table([["상자 안의 글이에요."]]))), "a.hwpx")) == [
        ("paragraph", "", "글이에요."),
        ("paragraph", "", "상자 안의 글이에요."),
    ]
