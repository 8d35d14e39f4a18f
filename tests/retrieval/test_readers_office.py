from __future__ import annotations

from datetime import datetime, time
from io import BytesIO
from zipfile import ZipFile

import pytest
from docx import Document
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from openpyxl import Workbook

from retrieval.errors import DocumentError, DocumentTooLargeError, EmptyDocumentError, UnreadableFileError
from retrieval.readers import SourceText, parse
from tests.retrieval import office_files
from tests.retrieval.compound_file import compound_file
from tests.retrieval.office_files import ROWS, rezipped, saved


def blocks(source: SourceText) -> list[tuple[int | None, str, str, str]]:
    found = [(b.page, b.kind, b.section, source.text[b.start : b.end]) for b in source.blocks]
    return [block for block in found if block[1] != "heading"]


def test_docx_with_heading_styles() -> None:
    source = parse(office_files.docx(), "월세.docx")
    assert source.title == "청년 월세 지원"
    assert blocks(source) == [
        (None, "paragraph", "", "주거비를 덜어 드려요."),
        (None, "table", "지원 금액", ROWS),
        (None, "list", "지원 금액 > 예외", "온라인\n방문"),
    ]


def test_docx_without_heading_styles() -> None:
    source = parse(office_files.docx(headings=False), "월세.docx")
    assert source.title == "월세"
    assert [block[2] for block in blocks(source)] == ["", "1. 지원 금액", "2. 예외"]


def test_docx_text_in_all_its_wrappings() -> None:
    document = Document()
    for xml in (
        "<w:p {}><w:r><w:t>가</w:t></w:r><w:ins><w:r><w:t>나</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>다</w:delText></w:r></w:del><w:r><w:tab/><w:t>라.</w:t></w:r></w:p>",
        "<w:sdt {}><w:sdtContent><w:p><w:r><w:t>칸 안의 글이에요.</w:t></w:r></w:p></w:sdtContent></w:sdt>",
        "<w:p {}><w:pPr><w:outlineLvl w:val='0'/></w:pPr><w:r><w:t>개요</w:t></w:r></w:p>",
        "<w:p {}><w:r><w:t>내용이에요.</w:t></w:r></w:p>",
    ):
        document.element.body.append(parse_xml(xml.format(nsdecls("w"))))
    assert blocks(parse(saved(document), "a.docx")) == [
        (None, "paragraph", "", "가나 라."),
        (None, "paragraph", "", "칸 안의 글이에요."),
        (None, "paragraph", "", "내용이에요."),
    ]


def test_docx_merged_cells() -> None:
    document = Document()
    table = document.add_table(3, 3)
    texts = [["시", "구", "금액"], ["서울", "중구", "10만 원"], ["", "종로구", "20만 원"]]
    for row, line in zip(table.rows, texts, strict=True):
        for cell, text in zip(row.cells, line, strict=True):
            cell.text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    assert blocks(parse(saved(document), "a.docx"))[0][3] == (
        "시: 서울, 구: 중구, 금액: 10만 원\n시: 서울, 구: 종로구, 금액: 20만 원"
    )


def test_a_form_of_two_columns_has_no_header() -> None:
    document = Document()
    table = document.add_table(0, 2)
    for line in (["대상", "만 19세부터 34세까지"], ["기간", "12개월"], ["담당", ""]):
        for cell, text in zip(table.add_row().cells, line, strict=True):
            cell.text = text
    assert blocks(parse(saved(document), "a.docx"))[0][3] == "대상: 만 19세부터 34세까지\n기간: 12개월\n담당"


def test_pptx_slides_are_pages_and_sections() -> None:
    source = parse(office_files.pptx(), "월세.pptx")
    assert source.title == "청년 월세 지원"
    assert blocks(source) == [
        (1, "list", "청년 월세 지원", "온라인으로 신청해요.\n방문해도 돼요."),
        (1, "paragraph", "청년 월세 지원", "발표자가 볼 내용이에요."),
        (2, "paragraph", "슬라이드 2", "단위는 원이에요."),
        (2, "table", "슬라이드 2", ROWS),
    ]


def test_xlsx_sheets_are_sections() -> None:
    source = parse(office_files.xlsx(), "월세.xlsx")
    assert source.title == "월세"
    assert blocks(source) == [
        (None, "paragraph", "금액", "청년 월세 지원"),
        (None, "table", "금액", ROWS),
        (None, "paragraph", "금액", "비고"),
        (None, "table", "금액", "항목: 접수, 날짜: 2024-03-02, 비율: 0.5"),
        (None, "table", "문의", "부서: 총무팀, 전화: 1234"),
    ]


def test_xlsx_values_as_people_write_them() -> None:
    book = Workbook()
    book.active.append(["가", "나", "다", "라", "마"])
    book.active.append([True, 0.1 + 0.2, 3.0, datetime(2024, 3, 2, 9, 30), time(9, 0)])
    assert blocks(parse(saved(book), "a.xlsx"))[0][3] == (
        "가: 예, 나: 0.3, 다: 3, 라: 2024-03-02 09:30, 마: 09:00:00"
    )


def test_xlsx_whose_dimension_lies() -> None:
    data = office_files.xlsx()
    with ZipFile(BytesIO(data)) as file:
        sheet = file.read("xl/worksheets/sheet1.xml").replace(b'ref="A1:C9"', b'ref="A1:XFD1048576"')
    assert b"XFD1048576" in sheet
    assert parse(rezipped(data, {"xl/worksheets/sheet1.xml": sheet}), "a.xlsx") == parse(data, "a.xlsx")


def test_xlsx_too_wide() -> None:
    book = Workbook()
    book.active.cell(1, 16384, "끝")
    with pytest.raises(DocumentTooLargeError, match="1,000열"):
        parse(saved(book), "a.xlsx")


OFFICE = {"docx": office_files.docx(), "pptx": office_files.pptx(), "xlsx": office_files.xlsx()}


@pytest.mark.parametrize("extension", OFFICE)
def test_bad_office_files_say_what_is_wrong(extension: str) -> None:
    good = OFFICE[extension]
    other = OFFICE["xlsx" if extension == "docx" else "docx"]
    cases: list[tuple[bytes, type[DocumentError], str]] = [
        (b"", EmptyDocumentError, "빈 파일"),
        (
            compound_file({"EncryptedPackage": b"x" * 5000, "EncryptionInfo": b"x"}),
            UnreadableFileError,
            "암호",
        ),
        (compound_file({"WordDocument": b"x" * 99}), UnreadableFileError, "옛 형식"),
        (good[: len(good) // 2], UnreadableFileError, "깨졌거나"),
        (other, UnreadableFileError, "다른 형식"),
        (b"%PDF-1.7 not a zip", UnreadableFileError, "다른 형식"),
    ]
    for data, error, message in cases:
        with pytest.raises(error, match=message):
            parse(data, f"이름.{extension}")


@pytest.mark.parametrize("document", [Document(), Workbook()])
def test_office_files_without_text(document: object) -> None:
    with pytest.raises(EmptyDocumentError):
        parse(saved(document), "a.docx" if not isinstance(document, Workbook) else "a.xlsx")
