from __future__ import annotations

from email.message import EmailMessage

import pytest

from retrieval.errors import DocumentError, DocumentTooLargeError, EmptyDocumentError, UnreadableFileError
from retrieval.readers import SourceText, parse
from tests.retrieval.office_files import ROWS

PAGE = """<!DOCTYPE html>
<html><head><title>구청 누리집</title><style>p {color: red}</style></head>
<body><nav><a href="/">처음으로</a></nav>
<h1>청년 월세 지원</h1>
<div>주거비를 <b>덜</b>어&nbsp;드려요.<!-- 숨은 말 --> 계속이에요.<br>다음 줄이에요.</div>
<h2>지원
   금액</h2>
<table><caption>금액표</caption><tr><th>구분</th><th>금액</th></tr>
<tr><td>1인 가구</td><td><p>20만 원</p></td></tr><tr><td>2인 가구</td><td>30만 원</td></tr></table>
<h3>방법</h3>
<ol><li>신청한다</li><li><p>기다린다</p><ul><li>문자를 본다</li></ul></li></ol>
<p hidden>숨은 글</p><script>alert("나쁜 글")</script>
<pre>가  나
  다</pre>
</body></html>
"""


def blocks(source: SourceText) -> list[tuple[str, str, str]]:
    found = [(block.kind, block.section, source.text[block.start : block.end]) for block in source.blocks]
    return [block for block in found if block[0] != "heading"]


def test_html_structure() -> None:
    source = parse(PAGE.encode(), "월세.html")
    assert source.title == "청년 월세 지원"
    assert blocks(source) == [
        ("paragraph", "", "주거비를 덜어 드려요. 계속이에요.\n다음 줄이에요."),
        ("paragraph", "지원 금액", "금액표"),
        ("table", "지원 금액", ROWS),
        ("list", "지원 금액 > 방법", "1. 신청한다\n2. 기다린다\n문자를 본다"),
        ("paragraph", "지원 금액 > 방법", "가  나\n  다"),
    ]


def test_html_title_without_a_single_first_heading() -> None:
    head = "<title>구청 누리집</title>"
    assert parse(f"{head}<p>글이에요.".encode(), "월세.html").title == "구청 누리집"
    assert parse(f"{head}<h1>가</h1>글<h1>나</h1>글".encode(), "월세.html").title == "구청 누리집"
    assert parse("글이에요.".encode(), "월세.htm").title == "월세"


def test_html_merged_cells_and_layout_tables() -> None:
    merged = (
        "<table><tr><th>시<th>구<th colspan=2>금액</tr><tr><td rowspan=2>서울<td>중구<td>1만 원<td>현금</tr>"
        "<tr><td>종로구<td>2만 원<td>카드</tr></table>"
    )
    expected = "시: 서울, 구: 중구, 금액: 1만 원, 현금\n시: 서울, 구: 종로구, 금액: 2만 원, 카드"
    assert blocks(parse(merged.encode(), "a.html")) == [("table", "", expected)]
    layout = f"<table><tr><td>왼쪽 글이에요.</td><td>{merged}</td></tr></table>"
    assert blocks(parse(layout.encode(), "a.html")) == [
        ("paragraph", "", "왼쪽 글이에요."),
        ("table", "", expected),
    ]


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8", ""),
        ("utf-8", "euc-kr"),
        ("cp949", ""),
        ("cp949", "euc-kr"),
        ("cp949", "iso-8859-1"),
        ("cp949", "nonsense"),
        ("johab", "johab"),
        ("iso2022_kr", "iso-2022-kr"),
        ("utf-16-le", ""),
        ("utf-16-be", ""),
    ],
)
def test_html_encodings(encoding: str, declared: str) -> None:
    meta = f'<meta http-equiv="Content-Type" content="text/html; charset={declared}">' if declared else ""
    page = f"<html>{meta}<p>한글 종이를 읽어요.</p></html>"
    assert parse(page.encode(encoding), "a.html").text == "한글 종이를 읽어요."


def test_html_nested_beyond_reason_ends() -> None:
    for tag in ("div", "ul><li", "table><tr><td", "b"):
        try:
            assert parse(f"<p>글</p>{f'<{tag}>' * 50_000}속".encode(), "a.html").text.startswith("글")
        except DocumentError:
            continue


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_csv_structure(separator: str, encoding: str) -> None:
    rows = [["구분", "금액"], ["1인 가구", "20만 원"], ["2인 가구", '"30만\n원"'], ["", ""]]
    data = "\r\n".join(separator.join(row) for row in rows).encode(encoding)
    source = parse(data, "월세.csv")
    assert source.title == "월세"
    assert blocks(source) == [("table", "", ROWS)]


def test_csv_rows_of_any_length_lose_nothing() -> None:
    data = "이름,나이\n가\n나,다,라\n".encode()
    assert parse(data, "a.csv").text == "이름: 가\n이름: 나, 나이: 다, 라"


def test_long_tables_come_in_blocks() -> None:
    data = "이름,나이\n" + "".join(f"사람{number},{number}\n" for number in range(1000))
    source = parse(data.encode(), "a.csv")
    assert len(source.blocks) == 5
    assert all(f"이름: 사람{number}, 나이: {number}" in source.text for number in range(1000))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b",".join([b"a"] * 1_000_000), DocumentTooLargeError, "1,000열"),
        (b"\n".join([b"," * 900] * 3000) + b"a", DocumentTooLargeError, "200만 칸"),
        (b"name\n" + b",".join([b"h" * 80] * 900) + (b"\n" + b"a," * 899) * 1000, DocumentTooLargeError, "너무 많"),
        (b'a,"' + b"b\n" * 100_000, UnreadableFileError, "따옴표"),
        (b"\x00\x01\x02" * 99, UnreadableFileError, "다른 형식"),
        (b",,,\n,,", EmptyDocumentError, "글이 없"),
    ],
)  # fmt: skip
def test_bad_csv_says_what_is_wrong(data: bytes, error: type[DocumentError], message: str) -> None:
    with pytest.raises(error, match=message):
        parse(data, "a.csv")


def mail(body: str = "내일 세 시에 만나요.\n> 언제 볼까요?\n", charset: str = "utf-8") -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "회의 안내"
    message["From"] = "김담소 <damso@example.com>"
    message["Date"] = "Sat, 02 Mar 2024 09:30:00 +0900"
    message.set_content(body, charset=charset)
    return message


ENVELOPE = "보낸 사람: 김담소 <damso@example.com>\n날짜: Sat, 02 Mar 2024 09:30:00 +0900"


@pytest.mark.parametrize("charset", ["utf-8", "euc-kr"])
def test_eml_structure(charset: str) -> None:
    message = mail(charset=charset)
    message.add_alternative("<p>모양만 다른 같은 글이에요.</p>", subtype="html")
    message.add_attachment(b"x", maintype="application", subtype="pdf", filename="월세 안내.pdf")
    source = parse(message.as_bytes(), "편지.eml")
    assert source.title == "회의 안내"
    assert blocks(source) == [
        ("paragraph", "", ENVELOPE),
        ("paragraph", "", "내일 세 시에 만나요.\n언제 볼까요?"),
        ("paragraph", "", "첨부 파일: 월세 안내.pdf"),
    ]


def test_eml_with_html_only() -> None:
    message = mail()
    message.set_content("<h2>장소</h2><p>3층 <b>회의</b>실이에요.</p>", subtype="html")
    assert blocks(parse(message.as_bytes(), "a.eml")) == [
        ("paragraph", "", ENVELOPE),
        ("paragraph", "장소", "3층 회의실이에요."),
    ]


def test_eml_with_raw_bytes_in_its_headers() -> None:
    data = (
        b"Subject: "
        + "회의 안내".encode("euc-kr")
        + b"\r\nFrom: a@example.com\r\n\r\n"
        + "안녕".encode("euc-kr")
    )
    source = parse(data, "a.eml")
    assert source.title == "회의 안내"
    assert source.text.endswith("안녕")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04" + bytes(99), "메일 파일이 아닌"),
        ("그냥 글이에요.".encode(), "메일 파일이 아닌"),
        (b"Subject: a\nContent-Type: text/plain\n\n" + bytes(range(1, 255)), "인코딩"),
    ],
)
def test_bad_eml_says_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableFileError, match=message):
        parse(data, "a.eml")
