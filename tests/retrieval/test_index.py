from __future__ import annotations

import random
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.errors import (
    CorruptDatabaseError,
    DiskFullError,
    DocumentNotFoundError,
    EmptyDocumentError,
    NewerDatabaseError,
    UnreadableFileError,
    UnsupportedFormatError,
)
from retrieval.index import Hit, Index, IngestResult
from tests.retrieval.hashing_encoder import HashingEncoder

FILES = {
    "월세.md": "# 청년 월세 지원\n\n## 지원 금액\n\n매달 20만 원을 드려요. 최대 열두 달이에요.\n\n"
    "## 문의\n\n청년과로 전화해 주세요.\n",
    "휴가.txt": "휴가 규정\n\n1. 연차\n직원은 해마다 15일을 쉽니다.\n\n"
    "2. 반차\n오전과 오후로 나누어 씁니다.\n",
    "하위/청소기.md": "# 로봇청소기\n\n## 먼지통\n\n먼지통은 일주일에 한 번 비워 주세요.\n",
}


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "문서"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / ".숨김.txt").write_text("숨긴 글", encoding="utf-8")
    (folder / "그림.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def index(home: Path, library: Path) -> Iterator[Index]:
    with Index.open(home, HashingEncoder()) as index:
        index.ingest([library])
        yield index


def statuses(results: list[IngestResult]) -> list[str]:
    return [result.status for result in results]


def rounded(hits: list[Hit]) -> list[tuple[object, ...]]:
    return [
        (
            h.passage,
            h.lexical_rank,
            h.dense_rank,
            round(h.score, 6),
            round(h.lexical_score, 4),
            round(h.dense_score, 4),
        )
        for h in hits
    ]


def test_a_folder_is_taken_in_with_its_folders(index: Index, library: Path) -> None:
    assert [document.name for document in index.documents()] == ["월세.md", "하위/청소기.md", "휴가.txt"]
    assert statuses(index.ingest([library])) == ["unchanged"] * 3


def test_finds_the_passage_and_its_place(index: Index) -> None:
    hit = index.search("먼지통은 언제 비우나요?")[0]
    text = index.document_text(hit.passage.document_id)
    assert (hit.passage.document, hit.passage.title, hit.passage.section) == (
        "하위/청소기.md",
        "로봇청소기",
        "먼지통",
    )
    assert text[hit.passage.start : hit.passage.end] == hit.passage.text
    assert [text[a:b] for a, b in hit.passage.sentences] == ["먼지통은 일주일에 한 번 비워 주세요."]
    assert (hit.lexical_rank, hit.dense_rank) == (1, 1)
    assert hit.score > 0 and hit.lexical_score > 0 and 0 < hit.dense_score <= 1


def test_top_k_documents_and_nonsense(index: Index) -> None:
    assert len(index.search("지원 금액", top_k=2)) == 2
    assert index.search("지원 금액", top_k=0) == []
    only = index.search("월세 지원 금액", documents=["휴가.txt"])
    assert {hit.passage.document for hit in only} == {"휴가.txt"}
    assert index.search("월세", documents=[]) == []
    assert index.search("") == []


def test_prior_and_expansion_steer_a_follow_up(index: Index) -> None:
    rest = index.search("반차 오전 오후")[0].passage
    assert index.search("월세 금액", prior={rest.id: 1.0})[0].passage == rest
    assert rest not in [
        hit.passage for hit in index.search("월세", documents=["월세.md"], prior={rest.id: 1.0})
    ]
    assert index.search("그건요?", prior={10**9: 1.0}) == index.search("그건요?")
    plain = index.search("그럼 얼마나요?")
    assert all(hit.lexical_rank is None for hit in plain)
    followed = index.search("그럼 얼마나요?", expansion=["먼지통"])[0]
    assert followed.lexical_rank == 1 and followed.passage.section == "먼지통"


def test_works_without_an_encoder_and_gains_one_later(home: Path, library: Path) -> None:
    with Index.open(home, None) as index:
        index.ingest([library])
        hit = index.search("연차 며칠")[0]
        assert (hit.passage.section, hit.dense_score, hit.dense_rank) == ("1. 연차", 0.0, None)
    encoder = HashingEncoder()
    with Index.open(home, encoder) as index:
        assert index.search("연차 며칠")[0].dense_rank is not None
    made = encoder.encoded
    with Index.open(home, encoder):
        assert encoder.encoded == made
    wider = HashingEncoder(32)
    with Index.open(home, wider) as index:
        assert wider.encoded == sum(document.passages for document in index.documents())
        assert index.search("연차 며칠")[0].dense_rank is not None


def test_removed_documents_are_not_found(home: Path, index: Index) -> None:
    document = index.remove(unicodedata.normalize("NFD", "휴가.txt"))
    assert document.name == "휴가.txt"
    assert "휴가.txt" not in {hit.passage.document for hit in index.search("연차 휴가 15일", top_k=50)}
    with pytest.raises(DocumentNotFoundError):
        index.remove("휴가.txt")
    with pytest.raises(DocumentNotFoundError):
        index.document_text(document.id)


def test_new_content_replaces_the_old(index: Index, library: Path) -> None:
    path = library / "월세.md"
    path.write_text("# 청년 월세 지원\n\n올해는 접수가 끝났어요.\n", encoding="cp949")
    assert statuses(index.ingest([library])) == ["replaced", "unchanged", "unchanged"]
    passages = [hit.passage for hit in index.search("월세 금액 접수", top_k=50, documents=["월세.md"])]
    assert [passage.text for passage in passages] == ["올해는 접수가 끝났어요."]


def test_one_bad_file_never_stops_the_batch(index: Index, tmp_path: Path) -> None:
    good, empty, odd = tmp_path / "good.txt", tmp_path / "empty.txt", tmp_path / "odd.xyz"
    good.write_text("좋은 글이에요.")
    empty.touch()
    odd.touch()
    seen: list[IngestResult] = []
    results = index.ingest([empty, odd, tmp_path / "none.txt", good, good], seen.append)
    assert results == seen
    assert statuses(results) == ["failed", "failed", "failed", "added", "unchanged"]
    errors = [type(result.error) for result in results[:3]]
    assert errors == [EmptyDocumentError, UnsupportedFormatError, UnreadableFileError]
    assert results[3].document in index.documents()


def test_a_full_disk_fails_the_file_and_loses_nothing(index: Index, tmp_path: Path) -> None:
    large = tmp_path / "large.txt"
    large.write_text("긴 글이에요. " * 20_000)
    connection = index._store._connection
    connection.execute(f"PRAGMA max_page_count={connection.execute('PRAGMA page_count').fetchone()[0]}")
    (result,) = index.ingest([large])
    assert isinstance(result.error, DiskFullError)
    assert len(index.documents()) == 3
    assert index.search("먼지통")[0].passage.section == "먼지통"


def test_neighbours(index: Index) -> None:
    rest = index.search("연차 15일")[0].passage
    before, after = index.neighbours(rest.id)
    assert before is None and after is not None
    assert after.section == "2. 반차"


def test_reopening_from_caches_equals_a_rebuild(home: Path, library: Path) -> None:
    queries = ["먼지통은 언제?", "월세 20만 원", "전화", "휴가 규정"]
    with Index.open(home, HashingEncoder()) as index:
        index.ingest([library])
        index.remove("휴가.txt")
        expected = [rounded(index.search(query)) for query in queries]
    with Index.open(home, HashingEncoder()) as index:
        assert [rounded(index.search(query)) for query in queries] == expected
    for cache in home.glob("*.cache"):
        cache.write_bytes(cache.read_bytes()[:-3])
    with Index.open(home, HashingEncoder()) as index:
        assert [rounded(index.search(query)) for query in queries] == expected


def test_caches_older_than_the_store_are_brought_up_to_date(home: Path, library: Path) -> None:
    with Index.open(home, HashingEncoder()) as index:
        index.ingest([library / "월세.md"])
    old = {path: path.read_bytes() for path in home.glob("*.cache")}
    assert len(old) == 2
    with Index.open(home, HashingEncoder()) as index:
        index.ingest([library])
        index.remove("월세.md")
        expected = rounded(index.search("휴가 먼지통 월세", top_k=50))
    for path, data in old.items():
        path.write_bytes(data)
    with Index.open(home, HashingEncoder()) as index:
        assert rounded(index.search("휴가 먼지통 월세", top_k=50)) == expected


def test_a_second_process_is_followed(home: Path, index: Index, tmp_path: Path) -> None:
    (tmp_path / "새.txt").write_text("수영장은 여섯 시에 열어요.")
    with Index.open(home, HashingEncoder()) as other:
        other.ingest([tmp_path / "새.txt"])
        other.remove("휴가.txt")
    assert index.search("수영장")[0].passage.document == "새.txt"
    assert "휴가.txt" not in {hit.passage.document for hit in index.search("휴가 연차", top_k=50)}


def test_threads_search_while_others_ingest(index: Index, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text(
            f"{number}번 방은 {number}층에 있어요. 열쇠는 관리실에 있어요."
        )
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            index.ingest([tmp_path / f"{number}.txt"])
            assert index.search("먼지통 비우기")[0].passage.section == "먼지통"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(index.documents()) == 15


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_any_file_name_is_a_document_that_can_be_removed(index: Index, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.txt"
    try:
        path.write_text("이름이 별난 글이에요.")
    except OSError:
        return
    (result,) = index.ingest([path])
    assert result.document is not None
    assert unicodedata.is_normalized("NFC", result.document.name)
    assert index.remove(result.document.name).id == result.document.id
    assert len(index.documents()) == 3


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=120))
def test_any_query_is_answered(index: Index, query: str) -> None:
    for hit in index.search(query, expansion=[query]):
        assert hit.score > 0


def test_newer_and_corrupt_databases_are_refused(home: Path, library: Path) -> None:
    with Index.open(home, None) as index:
        index.ingest([library])
        index._store._connection.execute("PRAGMA user_version=99")
    with pytest.raises(NewerDatabaseError):
        Index.open(home, None)
    for suffix in ("", "-wal", "-shm"):
        (home / f"documents.db{suffix}").unlink(missing_ok=True)
    (home / "documents.db").write_bytes(b"damaged" * 1000)
    with pytest.raises(CorruptDatabaseError):
        Index.open(home, None)


_INGEST = """
import sys
from pathlib import Path
from retrieval.index import Index
from tests.retrieval.hashing_encoder import HashingEncoder
index = Index.open(Path(sys.argv[1]), HashingEncoder())
print("open", flush=True)
def acknowledge(result):
    print(result.status, result.document.name, flush=True)
while True:
    index.ingest([Path(sys.argv[2])], acknowledge)
    for document in index.documents()[::3]:
        index.remove(document.name)
        print("removed", document.name, flush=True)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path, home: Path, seed: int) -> None:
    folder = tmp_path / "많은 글"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}.txt").write_text(
            f"{number}번 글이에요. 열쇠 {number}개와 의자가 있어요.\n\n끝이에요."
        )
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", _INGEST, home, folder], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(random.Random(seed).randint(1, 150))]
    process.kill()
    lines += process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    # The last line may be cut; what happened after the last acknowledgement is free to be there or not.
    alive: dict[str, bool] = {}
    for line in lines[1:]:
        if line.endswith("\n"):
            status, name = line.split()
            alive[name] = status != "removed"
    with Index.open(home, HashingEncoder()) as index:
        assert index._store._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        names = {document.name for document in index.documents()}
        acknowledged = {name for name, there in alive.items() if there}
        assert len(acknowledged - names) <= 1  # one removal may have gone through unannounced
        assert len(names - acknowledged) <= 1  # so may one addition
        recovered = rounded(index.search("열쇠 7개 의자", top_k=99))
    for cache in home.glob("*.cache"):
        cache.unlink()
    with Index.open(home, HashingEncoder()) as index:
        assert rounded(index.search("열쇠 7개 의자", top_k=99)) == recovered


def test_documents_belong_to_a_collection_until_they_are_moved(tmp_path: Path) -> None:
    one, two = tmp_path / "하나.txt", tmp_path / "둘.txt"
    one.write_text("도서관은 아홉 시에 엽니다.", encoding="utf-8")
    two.write_text("체육관은 여섯 시에 엽니다.", encoding="utf-8")
    with Index.open(tmp_path / "index", None) as index:
        index.ingest([one], collection="공공")
        index.ingest([two])
        assert [document.name for document in index.documents("공공")] == ["하나.txt"]
        assert [document.name for document in index.documents("")] == ["둘.txt"]
        one.write_text("도서관은 열 시에 엽니다.", encoding="utf-8")
        index.ingest([one])  # replaced: stays where it was
        (unchanged,) = index.ingest([two], collection="공공")
        assert unchanged.status == "unchanged" and unchanged.document is not None
        assert unchanged.document.collection == "공공" and len(index.documents("공공")) == 2
        index.ingest([two], collection="")
        assert [document.name for document in index.documents("공공")] == ["하나.txt"]
        assert index.documents("없음") == []
