"""A folder of everything that goes wrong with files: one clear message each, and the rest of the batch goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from pypdf import PdfReader, PdfWriter

from retrieval.index import Index
from tests.retrieval import office_files
from tests.retrieval.compound_file import compound_file
from tests.retrieval.hangul_files import hwp, paragraph
from tests.retrieval.hashing_encoder import HashingEncoder


def _with(data: bytes, name: str, content: bytes) -> bytes:
    buffer = BytesIO(data)
    with ZipFile(buffer, "a", ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return buffer.getvalue()


def _locked_pdf() -> bytes:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(office_files.guide_pdf())))
    writer.encrypt("비밀", "owner", algorithm="AES-256")
    buffer = BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def _scanned_pdf() -> bytes:
    writer = PdfWriter()
    writer.add_blank_page(595, 842)
    buffer = BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


ENCRYPTED = compound_file({"EncryptedPackage": b"x" * 5000, "EncryptionInfo": b"x"})
BAD: dict[str, tuple[bytes, str]] = {
    "가로챈.pdf": (office_files.docx(), "다른 형식"),
    "거짓.docx": (office_files.xlsx(), "다른 형식"),
    "그림.png": (b"\x89PNG\r\n\x1a\n" + bytes(99), "그림"),
    "매크로.xlsm": (office_files.xlsx(), "매크로"),
    "반쪽.docx": (office_files.docx()[:2000], "깨졌거나"),
    "반쪽.hwp": (hwp(paragraph("글이에요"))[:1600], "깨졌거나"),
    "반쪽.pdf": (office_files.guide_pdf()[:300], "깨졌거나"),
    "빈.hwpx": (b"", "빈 파일"),
    "빈.txt": (b"", "빈 파일"),
    "스캔.pdf": (_scanned_pdf(), "OCR"),
    "실행.txt": (b"MZ\x90\0\x03\0\0\0" + bytes(range(256)), "인코딩"),
    "암호.docx": (ENCRYPTED, "암호"),
    "암호.hwp": (hwp(paragraph("글"), flags=3), "암호"),
    "암호.pdf": (_locked_pdf(), "암호"),
    "암호.xlsx": (ENCRYPTED, "암호"),
    "옛.doc": (compound_file({"WordDocument": b"x" * 99}), "옛 형식"),
    "위장매크로.xlsx": (_with(office_files.xlsx(), "xl/vbaProject.bin", b"x"), "매크로"),
    "폭탄.hwp": (hwp(bytes(80 * 2**20)), "압축"),
    "폭탄.xlsx": (_with(office_files.xlsx(), "xl/media/a.bin", bytes(201 * 2**20)), "압축"),
}
GOOD = {
    "옛글.txt": "똠방각하 안내문이에요. 수영장은 여섯 시에 열어요.".encode("cp949"),
    "월세.docx": office_files.docx(),
    "월세.xlsx": office_files.xlsx(),
    "월세.pdf": office_files.guide_pdf(),
}


def test_each_bad_file_has_one_message_and_the_rest_goes_on(tmp_path: Path) -> None:
    contents = {name: data for name, (data, _) in BAD.items()} | GOOD
    paths = [tmp_path / name for name in sorted(contents)]
    for path in paths:
        path.write_bytes(contents[path.name])
    with Index.open(tmp_path / "index", HashingEncoder()) as index:
        results = index.ingest(paths)
        for path, result in zip(paths, results, strict=True):
            if path.name in GOOD:
                assert result.status == "added", path.name
                continue
            assert result.status == "failed" and result.error is not None
            assert BAD[path.name][1] in result.error.message, (path.name, result.error.message)
            assert "\n" not in result.error.message and result.error.hint.endswith("요.")
            assert path.name in result.error.message
        assert {document.name for document in index.documents()} == GOOD.keys()
        assert index.search("똠방각하 수영장")[0].passage.document == "옛글.txt"


_ADD = """
import sys
from pathlib import Path
from retrieval.index import Index
from tests.retrieval.hashing_encoder import HashingEncoder
with Index.open(Path(sys.argv[1]), HashingEncoder()) as index:
    for result in index.ingest([Path(sys.argv[2])]):
        assert result.status == "added", result
"""


def test_two_processes_fill_one_store_at_once(tmp_path: Path) -> None:
    for side in ("가", "나"):
        (tmp_path / side).mkdir()
        for number in range(15):
            text = f"{side}동 {number}호의 열쇠는 관리실에 있어요.\n\n의자는 {number}개예요."
            (tmp_path / side / f"{side}{number}.txt").write_text(text, encoding="utf-8")
    root, home = Path(__file__).parents[2], tmp_path / "home"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", _ADD, home, tmp_path / side], cwd=root, stderr=subprocess.PIPE
        )
        for side in ("가", "나")
    ]
    for process in both:
        assert process.communicate()[1] == b"" and process.returncode == 0
    with Index.open(home, HashingEncoder()) as index:
        assert len(index.documents()) == 30
        found = index.search("열쇠 의자 관리실", top_k=99)
        assert len({hit.passage.document for hit in found}) == 30
    for cache in home.glob("*.cache"):
        cache.unlink()
    with Index.open(home, HashingEncoder()) as index:
        again = index.search("열쇠 의자 관리실", top_k=99)
        assert {hit.passage for hit in again} == {hit.passage for hit in found}


@pytest.mark.parametrize("own_process", [True, False])
def test_documents_are_deleted_while_questions_are_asked(tmp_path: Path, own_process: bool) -> None:
    texts = [
        (f"{n}.txt", f"{n}번 방 열쇠는 관리실에 있어요. 비밀 {zlib.crc32(b'%d' % n)}") for n in range(30)
    ]
    failures: list[BaseException] = []

    def ask(index: Index, until: Callable[[], bool]) -> None:
        try:
            while not until():
                for hit in index.search("열쇠 관리실", top_k=40):
                    assert hit.passage.text
                    index.neighbours(hit.passage.id)
        except BaseException as error:
            failures.append(error)

    with (
        Index.open(tmp_path, HashingEncoder()) as index,
        Index.open(tmp_path, HashingEncoder()) as other,
    ):
        index.ingest_texts(texts)
        done = threading.Event()
        asker = threading.Thread(target=ask, args=(index if own_process else other, done.is_set))
        asker.start()
        for name, _ in texts[:-1]:
            index.remove(name)
        done.set()
        asker.join()
        assert failures == []
        for view in (index, other):
            assert [hit.passage.document for hit in view.search("열쇠 관리실", top_k=40)] == ["29.txt"]


def test_a_document_deleted_while_it_is_indexed_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Index.open(tmp_path, HashingEncoder()) as index:
        analysed = index._hybrid.analysed

        def deleted_meanwhile(*arguments: list[str]) -> object:
            index.remove("월세.md")
            return analysed(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(index._hybrid, "analysed", deleted_meanwhile)
            index.ingest_texts([("월세.md", "월세는 매월 내요.")])
        assert index.documents() == [] and index.search("월세") == []
        assert len(index._hybrid._lexical) == 0
