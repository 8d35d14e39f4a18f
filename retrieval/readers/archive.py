"""The zip archives that office formats are: their limits, and their XML read without entities."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from retrieval.errors import DocumentTooLargeError, UnreadableFileError

if TYPE_CHECKING:
    from lxml.etree import _Element

_MAX_ENTRIES = 10_000
_MAX_BYTES = 200 * 2**20
_MAX_XML_BYTES = 64 * 2**20
_MAX_RATIO = 200
# Small files compress well without meaning harm.
_SMALL_BYTES = 10 * 2**20
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_XML_SUFFIXES = (".xml", ".rels", ".hpf", ".rdf")


def checked(data: bytes, name: str, member: str) -> ZipFile:
    """Opens an office document after looking at everything in it that could harm.

    Zip entries never decompress to more than they declare (`zipfile` stops there), so that the declared
    sizes bound what any library does with the bytes afterwards.

    Args:
        data: the file's bytes.
        name: the file's name, for messages.
        member: a file in the archive that every document of this format has.

    Raises:
        UnreadableFileError: not this format, damaged, or password-protected.
        DocumentTooLargeError: it would decompress to too much.
    """
    if data.startswith(_OLE_MAGIC):
        raise ole_instead_of_zip(data, name)
    try:
        archive = ZipFile(BytesIO(data))
        archive.getinfo(member)
    except (BadZipFile, KeyError, ValueError, NotImplementedError) as error:
        raise UnreadableFileError(
            f"'{name}'은(는) 깨졌거나 이름과 다른 형식의 파일이에요.",
            "원래 프로그램에서 열어 다시 저장한 뒤 올려 주세요.",
        ) from error
    _require_harmless(archive, name)
    if any(entry.filename.endswith("vbaProject.bin") for entry in archive.infolist()):
        raise with_macros(name)
    for entry in archive.infolist():
        if entry.filename.lower().endswith(_XML_SUFFIXES):
            _refuse_entities(archive.read(entry), name)
    return archive


def root(archive: ZipFile, member: str) -> _Element:
    """The root element of an XML file in an archive, without entities, DTDs or anything from elsewhere."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    return etree.fromstring(archive.read(member), parser)


def ole_instead_of_zip(data: bytes, name: str) -> UnreadableFileError:
    """What to say of an OLE file with the name of a zip format: encrypted, or of before 2007."""
    import olefile

    with olefile.OleFileIO(BytesIO(data)) as ole:
        encrypted = ole.exists("EncryptedPackage")
    if encrypted:
        return password_protected(name)
    return UnreadableFileError(
        f"'{name}'은(는) 옛 형식(.doc, .xls, .ppt)의 파일이에요.", "새 형식으로 다시 저장한 뒤 올려 주세요."
    )


def password_protected(name: str) -> UnreadableFileError:
    """The error for every format's password-protected files."""
    return UnreadableFileError(f"'{name}'에 암호가 걸려 있어요.", "암호를 풀어 저장한 뒤 올려 주세요.")


def with_macros(name: str) -> UnreadableFileError:
    """The error for documents that carry programs."""
    return UnreadableFileError(
        f"'{name}'에 매크로가 들어 있어서 읽지 않았어요.",
        "매크로 없는 형식(.docx, .xlsx, .pptx)으로 다시 저장한 뒤 올려 주세요.",
    )


def too_large(name: str) -> DocumentTooLargeError:
    """The error for every format's decompression bombs."""
    return DocumentTooLargeError(
        f"'{name}'의 압축을 풀면 너무 커져서 받을 수 없어요.", "파일을 나누거나 줄여서 올려 주세요."
    )


def _require_harmless(archive: ZipFile, name: str) -> None:
    entries = archive.infolist()
    if any(entry.flag_bits & 1 for entry in entries):
        raise password_protected(name)
    if any(entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for entry in entries):
        raise UnreadableFileError(
            f"'{name}'은(는) 알 수 없는 방식으로 압축되어 있어요.", "원래 프로그램에서 다시 저장해 주세요."
        )
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    largest = max((e.file_size for e in entries if e.filename.lower().endswith(_XML_SUFFIXES)), default=0)
    bloated = total > _SMALL_BYTES and total > _MAX_RATIO * packed
    if len(entries) > _MAX_ENTRIES or total > _MAX_BYTES or largest > _MAX_XML_BYTES or bloated:
        raise too_large(name)


def _refuse_entities(xml: bytes, name: str) -> None:
    # Without its NULs UTF-16 reads like ASCII. None of the formats has a document type.
    if b"<!doctype" in xml.replace(b"\0", b"").lower():
        raise UnreadableFileError(
            f"'{name}'에 안전하지 않은 XML이 들어 있어서 읽지 않았어요.",
            "원래 프로그램에서 열어 다시 저장한 뒤 올려 주세요.",
        )
