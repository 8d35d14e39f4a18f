from __future__ import annotations

import zlib
from io import BytesIO

import pytest
from pypdf import PdfReader, PdfWriter
from reportlab.pdfgen.canvas import Canvas

from retrieval.chunking import chunk
from retrieval.errors import DocumentError, DocumentTooLargeError, UnreadableFileError
from retrieval.readers import SourceText, parse
from retrieval.readers.layout import Fragment, document
from tests.retrieval.office_files import FEES, FONT, ROWS, guide_pdf, pdf, table, text

LONG = (
    "이 안내문은 청년의 주거비 부담을 덜어 드리기 위하여 만든 글로서 지원 대상과 금액과 "
    "신청 방법을 차례로 설명하고 있으며 자세한 내용은 가까운 구청에 물어보시면 친절하게 안내해 드립니다."
)


def blocks(source: SourceText) -> list[tuple[int | None, str, str, str]]:
    found = [(b.page, b.kind, b.section, source.text[b.start : b.end]) for b in source.blocks]
    return [block for block in found if block[1] != "heading"]


def raw_pdf(content: bytes, font: bytes, stream: bytes = b"", pages: int = 1) -> bytes:
    """A PDF written by hand: pages that share one content stream and one font."""
    kids = b" ".join(b"%d 0 R" % (5 + i) for i in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, pages),
        font,
        b"<</Length %d%b>>stream\n%b\nendstream" % (len(content), stream, content),
    ]
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F 3 0 R>>>>>>"
    objects += [page] * pages
    body, offsets = b"%PDF-1.7\n", []
    for number, item in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj%b endobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    xref = b"xref\n0 %d\n0000000000 65535 f \n%btrailer<</Size %d/Root 1 0 R>>\n" % (size, table, size)
    return body + xref + b"startxref\n%d\n%%%%EOF" % len(body)


def korean_font(encoding: bytes) -> bytes:
    system = b"<</Registry(Adobe)/Ordering(Korea1)/Supplement 1>>"
    descendant = (
        b"<</Type/Font/Subtype/CIDFontType0/BaseFont/HYSMyeongJo-Medium/CIDSystemInfo%b/DW 1000>>" % system
    )
    return b"<</Type/Font/Subtype/Type0/BaseFont/HYSMyeongJo-Medium/Encoding/%b/DescendantFonts[%b]>>" % (
        encoding,
        descendant,
    )


def shown(data: bytes) -> bytes:
    return b"BT /F 12 Tf 72 700 Td <%b> Tj ET" % data.hex().encode()


def test_pdf_structure() -> None:
    source = parse(guide_pdf(), "월세.pdf")
    assert source.title == "청년 월세 지원"
    assert blocks(source) == [
        (1, "paragraph", "지원 금액", "금액은 아래와 같아요."),
        (1, "table", "지원 금액", ROWS),
        (2, "paragraph", "신청 방법", "온라인으로 신청해요."),
    ]


def test_passages_know_their_page() -> None:
    passages = chunk(parse(guide_pdf(), "월세.pdf"))
    assert [(passage.page, passage.section) for passage in passages] == [(1, "지원 금액"), (2, "신청 방법")]


def test_wrapped_lines_are_joined_and_paragraphs_are_not() -> None:
    source = parse(pdf([text(LONG), text("짧은 글이에요."), text(LONG)]), "a.pdf")
    assert [block[3] for block in blocks(source)] == [LONG, "짧은 글이에요.", LONG]


def test_cells_of_several_lines_stay_in_their_row() -> None:
    rows = [*FEES, ["3인 가구", text("서른다섯 만 원 안에서 실제로 낸 월세만큼")]]
    source = parse(pdf([text("글이에요."), table([[*row, "매월"] for row in rows], [80, 90, 60])]), "a.pdf")
    assert "구분: 3인 가구, 금액: 서른다섯 만 원 안에서 실제로 낸 월세만큼, 매월: 매월" in source.text


def test_headings_as_they_are_written() -> None:
    source = parse(
        pdf([text("1. 지원 금액"), table(FEES, [90, 90]), text("2. 방법"), text("신청해요.")]), "a.pdf"
    )
    assert blocks(source) == [
        (1, "table", "1. 지원 금액", ROWS),
        (1, "paragraph", "2. 방법", "신청해요."),
    ]


def test_running_heads_and_page_numbers_are_left_out() -> None:
    def decorate(canvas: Canvas, _: object) -> None:
        canvas.setFont(FONT, 9)
        canvas.drawString(72, 800, "월세 지원 안내서")
        canvas.drawString(280, 30, f"- {canvas.getPageNumber()} -")

    pages = [[text(f"{number}번째 이야기는 {'가나다라마'[number]}로 시작해요.")] for number in range(4)]
    from reportlab.platypus import PageBreak, SimpleDocTemplate

    buffer = BytesIO()
    flow = [item for page in pages for item in (*page, PageBreak())]
    SimpleDocTemplate(buffer).build(flow, onFirstPage=decorate, onLaterPages=decorate)
    source = parse(buffer.getvalue(), "a.pdf")
    assert [block[3] for block in blocks(source)] == [
        f"{number}번째 이야기는 {'가나다라마'[number]}로 시작해요." for number in range(4)
    ]


def test_columns_do_not_mix() -> None:
    left = [Fragment("왼쪽 단의 글이 여기에서 시작하고", 50, 700 - 14 * i, 10) for i in range(3)]
    right = [Fragment("오른쪽 단의 글이 이어져서 나와요", 300, 700 - 14 * i, 10) for i in range(3)]
    assert "왼쪽 단의 글이 여기에서 시작하고 오른쪽" not in document("a", [left + right]).text.replace(
        "\n", "|"
    )


def test_korean_encodings_of_old_files() -> None:
    for encoding, codec in [(b"KSCms-UHC-H", "cp949"), (b"UniKS-UCS2-H", "utf-16-be")]:
        data = raw_pdf(shown("똠방각하는 뷁 A4 종이예요.".encode(codec)), korean_font(encoding))
        assert parse(data, "a.pdf").text == "똠방각하는 뷁 A4 종이예요."


def test_text_without_characters_needs_ocr() -> None:
    glyphs = raw_pdf(shown("글자 번호".encode("utf-16-be")), korean_font(b"Identity-H"))
    picture = raw_pdf(b"q 100 0 0 100 0 0 cm Q", korean_font(b"Identity-H"))
    for data in (glyphs, picture):
        with pytest.raises(UnreadableFileError, match="OCR"):
            parse(data, "a.pdf")


def encrypted(password: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(guide_pdf())))
    writer.encrypt(password, "owner", algorithm="AES-256")
    buffer = BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def test_passwords() -> None:
    assert parse(encrypted(""), "월세.pdf") == parse(guide_pdf(), "월세.pdf")
    with pytest.raises(UnreadableFileError, match="암호"):
        parse(encrypted("비밀"), "월세.pdf")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"PK\x03\x04" + bytes(99), UnreadableFileError, "다른 형식"),
        (guide_pdf()[:300], UnreadableFileError, "깨졌거나"),
        (b"%PDF-1.7\n%%EOF", UnreadableFileError, "깨졌거나"),
        (raw_pdf(b"", korean_font(b"UniKS-UCS2-H"), pages=5001), DocumentTooLargeError, "5,000쪽"),
        (
            raw_pdf(zlib.compress(bytes(100_000_000)), b"<<>>", b"/Filter/FlateDecode"),
            DocumentTooLargeError,
            "압축",
        ),
    ],
)
def test_bad_pdfs_say_what_is_wrong(data: bytes, error: type[DocumentError], message: str) -> None:
    with pytest.raises(error, match=message):
        parse(data, "a.pdf")


def test_one_stream_on_many_pages_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.readers.pdf._MAX_OPERATORS", 2000)
    data = raw_pdf(shown("글".encode("utf-16-be")) * 100, korean_font(b"UniKS-UCS2-H"), pages=50)
    with pytest.raises(DocumentTooLargeError):
        parse(data, "a.pdf")


def test_loops_end() -> None:
    good = raw_pdf(shown("글이에요".encode("utf-16-be")), korean_font(b"UniKS-UCS2-H"))
    for old, new in [(b"/Kids[5 0 R]", b"/Kids[2 0 R]"), (b"/Contents 4 0 R", b"/Contents 5 0 R")]:
        with pytest.raises(DocumentError):
            parse(good.replace(old, new), "a.pdf")
