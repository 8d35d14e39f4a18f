"""Writes small Word, PowerPoint, Excel and PDF files with the libraries that people's programs resemble."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from docx import Document
from openpyxl import Workbook
from pptx import Presentation
from pptx.util import Inches
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Table

FONT = "HYSMyeongJo-Medium"
FEES = [["구분", "금액"], ["1인 가구", "20만 원"], ["2인 가구", "30만 원"]]
ROWS = "구분: 1인 가구, 금액: 20만 원\n구분: 2인 가구, 금액: 30만 원"
pdfmetrics.registerFont(UnicodeCIDFont(FONT))


def saved(document: Any) -> bytes:
    buffer = BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def docx(headings: bool = True) -> bytes:
    document = Document()
    if headings:
        document.add_heading("청년 월세 지원", 0)
    document.add_paragraph("주거비를 덜어 드려요.")
    document.add_heading("지원 금액", 1) if headings else document.add_paragraph("1. 지원 금액")
    table = document.add_table(0, 2)
    for row in FEES:
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
    document.add_heading("예외", 2) if headings else document.add_paragraph("2. 예외")
    document.add_paragraph("온라인", style="List Bullet")
    document.add_paragraph("방문", style="List Bullet")
    return saved(document)


def pptx() -> bytes:
    deck = Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "청년 월세 지원"
    first.placeholders[1].text = "온라인으로 신청해요.\n방문해도 돼요."
    first.notes_slide.notes_text_frame.text = "발표자가 볼 내용이에요."
    second = deck.slides.add_slide(deck.slide_layouts[6])
    table = second.shapes.add_table(3, 2, Inches(1), Inches(3), Inches(4), Inches(2)).table
    for number, row in enumerate(FEES):
        for column, text in enumerate(row):
            table.cell(number, column).text = text
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(Inches(1), Inches(1), Inches(4), Inches(1)).text_frame.text = "단위는 원이에요."
    return saved(deck)


def xlsx() -> bytes:
    book = Workbook()
    sheet = book.active
    sheet.title = "금액"
    for row in [
        ["청년 월세 지원"],
        [],
        *FEES,
        [],
        ["비고"],
        ["항목", "날짜", "비율"],
        ["접수", date(2024, 3, 2), 0.5],
    ]:
        sheet.append(row)
    hidden = book.create_sheet("숨김")
    hidden.append(["숨은 글"])
    hidden.sheet_state = "hidden"
    sheet = book.create_sheet("문의")
    sheet["C3"], sheet["D3"], sheet["C4"], sheet["D4"] = "부서", "전화", "총무팀", 1234
    return saved(book)


def pdf(*pages: list[Flowable], **options: Any) -> bytes:
    from reportlab.platypus import PageBreak

    buffer = BytesIO()
    flow = [item for page in pages for item in (*page, PageBreak())]
    SimpleDocTemplate(buffer, **options).build(flow)
    return buffer.getvalue()


def text(content: str, size: float = 10) -> Paragraph:
    style = ParagraphStyle("style", fontName=FONT, fontSize=size, leading=1.4 * size, spaceAfter=size)
    return Paragraph(content, style)


def table(rows: list[list[Any]], widths: list[float]) -> Table:
    return Table(
        rows,
        colWidths=widths,
        style=[("FONT", (0, 0), (-1, -1), FONT, 10), ("VALIGN", (0, 0), (-1, -1), "MIDDLE")],
    )


def guide_pdf() -> bytes:
    return pdf(
        [
            text("청년 월세 지원", 20),
            text("지원 금액", 14),
            text("금액은 아래와 같아요."),
            table(FEES, [100, 100]),
        ],
        [text("신청 방법", 14), text("온라인으로 신청해요.")],
    )


def rezipped(data: bytes, changed: dict[str, bytes]) -> bytes:
    """The same archive with other content for some of its files."""
    buffer = BytesIO()
    with ZipFile(BytesIO(data)) as old, ZipFile(buffer, "w", ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, changed.get(name, old.read(name)))
        for name in changed.keys() - set(old.namelist()):
            new.writestr(name, changed[name])
    return buffer.getvalue()
