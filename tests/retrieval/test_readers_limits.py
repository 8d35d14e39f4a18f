"""What every reader must withstand: bombs, entities, and bytes that are wrong anywhere."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from email.message import EmailMessage
from io import BytesIO
from time import monotonic
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.replies import reply_for
from retrieval.errors import DocumentError, DocumentTooLargeError, UnreadableFileError
from retrieval.readers import SUPPORTED, parse
from tests.retrieval import office_files
from tests.retrieval.hangul_files import hwp, hwp_table, hwpx, hwpx_table, p, paragraph
from tests.retrieval.office_files import FEES, rezipped


def _mail() -> bytes:
    message = EmailMessage()
    message["Subject"] = "회의 안내"
    message.set_content("내일 만나요.")
    message.add_alternative("<p>내일 만나요.</p>", subtype="html")
    return message.as_bytes()


_HTML = (
    "<h1>월세</h1><ul><li>가<li>나</ul><table><tr><td rowspan=2>1<td colspan=2>2<tr><td>3</table>".encode()
)
GOOD = {
    ".csv": "구분,금액\n1인 가구,20만 원\n".encode("cp949"),
    ".docx": office_files.docx(),
    ".eml": _mail(),
    ".htm": _HTML,
    ".html": _HTML,
    ".hwp": hwp(paragraph("월세 안내") + hwp_table(FEES), paragraph("끝이에요.")),
    ".hwpx": hwpx(p("월세 안내", 1, hwpx_table(FEES)), outline=(0,)),
    ".md": "# 월세\n- 가\n\n|가|나|\n|-|-|\n|1|2|\n".encode(),
    ".pdf": office_files.guide_pdf(),
    ".pptx": office_files.pptx(),
    ".tsv": "구분\t금액\n1인 가구\t20만 원\n".encode(),
    ".txt": "1. 월세\n매월 내요.\n".encode(),
    ".xlsx": office_files.xlsx(),
}
ZIPPED = {
    ".docx": "word/document.xml",
    ".hwpx": "Contents/section0.xml",
    ".pptx": "ppt/slides/slide1.xml",
    ".xlsx": "xl/worksheets/sheet1.xml",
}
# A reader that takes longer than this for a few kilobytes does not end in time for a large file.
_SECONDS = 20.0


def reads_or_refuses(data: bytes, extension: str) -> None:
    start = monotonic()
    try:
        assert parse(data, "이름" + extension).text
    except DocumentError as error:
        assert error.message
        assert error.hint
    assert monotonic() - start < _SECONDS


def test_every_format_is_tried_and_named() -> None:
    assert GOOD.keys() == set(SUPPORTED)
    for extension, data in GOOD.items():
        assert "월세" in parse(data, "월세" + extension).text or extension in (".csv", ".tsv", ".eml")
        assert extension in (reply_for("help", "formats") or "")


@pytest.mark.parametrize("extension", GOOD)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=400))
def test_any_bytes_read_or_are_refused(extension: str, data: bytes) -> None:
    reads_or_refuses(data, extension)
    reads_or_refuses(GOOD[extension][:16] + data, extension)


@pytest.mark.parametrize("extension", GOOD)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=6),
)
def test_damaged_files_read_or_are_refused(
    extension: str, cut: float, changes: list[tuple[float, bytes]]
) -> None:
    data = bytearray(GOOD[extension])
    for place, replacement in changes:
        start = int(place * len(data))
        data[start : start + len(replacement)] = replacement
    reads_or_refuses(bytes(data), extension)
    reads_or_refuses(bytes(data[: int(cut * len(data))]), extension)


@pytest.mark.parametrize("extension", ZIPPED)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4)
)
def test_damaged_xml_reads_or_is_refused(extension: str, changes: list[tuple[float, bytes]]) -> None:
    with ZipFile(BytesIO(GOOD[extension])) as file:
        xml = bytearray(file.read(ZIPPED[extension]))
    for place, replacement in changes:
        start = int(place * len(xml))
        xml[start : start + len(replacement)] = replacement
    reads_or_refuses(rezipped(GOOD[extension], {ZIPPED[extension]: bytes(xml)}), extension)


@settings(max_examples=100)
@given(
    records=st.lists(
        st.tuples(st.sampled_from([25, 66, 67, 71, 72, 77]), st.integers(0, 4), st.binary(max_size=40))
    )
)
def test_any_hwp_records_read_or_are_refused(records: list[tuple[int, int, bytes]]) -> None:
    section = b"".join(
        struct.pack("<I", tag | level << 10 | len(data) << 20) + data for tag, level, data in records
    )
    reads_or_refuses(hwp(paragraph("글") + section, flags=0), ".hwp")


@pytest.mark.parametrize("extension", GOOD)
def test_a_file_under_the_name_of_another_format(extension: str) -> None:
    for data in GOOD.values():
        reads_or_refuses(data, extension)


def _stored(data: bytes, name: str, content: bytes, method: int = ZIP_DEFLATED) -> bytes:
    buffer = BytesIO(data)
    with ZipFile(buffer, "a", method) as file:
        file.writestr(name, content)
    return buffer.getvalue()


def _many_files(data: bytes) -> bytes:
    buffer = BytesIO(data)
    with ZipFile(buffer, "a") as file:
        for number in range(10_001):
            file.writestr(str(number), b"")
    return buffer.getvalue()


@pytest.mark.parametrize("extension", ZIPPED)
@pytest.mark.parametrize(
    "bomb",
    [
        lambda data: _stored(data, "media/picture.bin", bytes(250 * 2**20)),
        lambda data: _stored(data, "big.xml", bytes(70 * 2**20)),
        lambda data: _stored(data, "ratio.bin", bytes(50 * 2**20)),
        _many_files,
    ],
    ids=["total", "xml", "ratio", "entries"],
)
def test_zip_bombs(extension: str, bomb: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DocumentTooLargeError, match="압축"):
        parse(bomb(GOOD[extension]), "이름" + extension)


@pytest.mark.parametrize("extension", ZIPPED)
def test_a_declared_size_that_lies_is_found_out(extension: str) -> None:
    data = _stored(GOOD[extension], "lie.xml", bytes(30 * 2**20))
    size = struct.pack("<I", 30 * 2**20)
    assert data.count(size) == 2
    with pytest.raises(UnreadableFileError):
        parse(data.replace(size, struct.pack("<I", 100)), "이름" + extension)


@pytest.mark.parametrize("extension", ZIPPED)
def test_odd_archives(extension: str) -> None:
    packed = _stored(GOOD[extension], "a.bin", b"a" * 100, ZIP_BZIP2)
    with pytest.raises(UnreadableFileError, match="알 수 없는 방식"):
        parse(packed, "이름" + extension)
    locked = bytearray(GOOD[extension])
    # The flag of encryption in the central directory.
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UnreadableFileError, match="암호"):
        parse(bytes(locked), "이름" + extension)


@pytest.mark.parametrize("extension", ZIPPED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_entities_are_refused(extension: str, encoding: str) -> None:
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    document = (
        f'<!DOCTYPE x [<!ENTITY a0 "하">{laughs}<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&a9;&f;</x>'
    )
    data = rezipped(GOOD[extension], {ZIPPED[extension]: document.encode(encoding)})
    with pytest.raises(UnreadableFileError, match="안전하지 않은 XML"):
        parse(data, "이름" + extension)


@pytest.mark.parametrize("extension", ZIPPED)
def test_deeply_nested_xml_ends(extension: str) -> None:
    with ZipFile(BytesIO(GOOD[extension])) as file:
        xml = file.read(ZIPPED[extension])
    for tag in (b"w:tbl", b"a:p", b"hp:p", b"row", b"x"):
        nested = b"<%b>" % tag * 100_000 + b"</%b>" % tag * 100_000
        end = xml.rindex(b"</")
        reads_or_refuses(
            rezipped(GOOD[extension], {ZIPPED[extension]: xml[:end] + nested + xml[end:]}), extension
        )


@pytest.mark.parametrize(
    ("extension", "data"),
    [
        (".html", b"<a " + b"".join(b"x%d=1 " % number for number in range(200_000)) + b">text"),
        (".eml", b"Subject: x\nContent-Type: text/plain; " + b"a*0=b; " * 100_000 + b"\n\ntext"),
    ],
)
def test_input_that_would_take_quadratic_time_is_refused(extension: str, data: bytes) -> None:
    start = monotonic()
    with pytest.raises(UnreadableFileError):
        parse(data, "이름" + extension)
    assert monotonic() - start < 5


def test_readers_load_their_libraries_only_when_they_read() -> None:
    heavy = ["pypdf", "docx", "pptx", "openpyxl", "lxml", "olefile", "markdown_it", "numpy", "torch"]
    script = f"import sys, retrieval.readers; print([name for name in {heavy} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
