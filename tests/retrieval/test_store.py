from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from retrieval.chunking import chunk
from retrieval.database import connect
from retrieval.errors import DocumentNotFoundError
from retrieval.readers import parse
from retrieval.store import MIGRATIONS, Document, Store, as_stored


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "documents.db")
    yield store
    store.close()


def put(
    store: Store, name: str, text: str, vectors: np.ndarray | None = None
) -> tuple[Document, list[int], list[int]]:
    source = parse(text.encode(), name)
    return store.put(name, f"hash of {text}", len(text), source, chunk(source), vectors)


def test_final_schema(tmp_path: Path, store: Store) -> None:
    with sqlite3.connect(tmp_path / "documents.db") as raw:
        tables = {
            table: [column[1] for column in raw.execute(f"PRAGMA table_info({table})")]
            for (table,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    raw.close()
    assert len(MIGRATIONS) == 2
    assert tables == {
        "meta": ["key", "value"],
        "documents": ["id", "name", "sha256", "added_at", "title", "text", "size", "collection"],
        "chunks": ["id", "document_id", "start", "end", "section", "page", "sentences"],
        "sqlite_sequence": ["name", "seq"],
        "vectors": ["chunk_id", "vector"],
    }


def test_many_texts_are_those_of_their_passages(store: Store) -> None:
    _, first, _ = put(store, "글.md", "# 제목 😀\n\n## 하나\n\n첫 문장이에요.\n\n## 둘\n\n둘째예요.")
    _, second, _ = put(store, "또.txt", "다른 글 😀이에요.")
    mixed = [*first, *second, 10**9, *first[::-1]]
    expected = [(passage.id, passage.heading, passage.text) for passage in store.passages(mixed)]
    assert list(store.texts(mixed)) == expected and len(expected) == 2 * len(first) + 1
    store.remove("글.md")
    assert store.existing([*first, *second, 10**9]) == set(second)
    assert store.existing([]) == set()


def test_vectors_come_back_as_stored(store: Store) -> None:
    vectors = np.random.default_rng(0).normal(size=(1, 7)).astype(np.float32)
    _, added, _ = put(store, "글.txt", "글이에요.", vectors)
    assert np.array_equal(store.vectors(added)[1], as_stored(vectors))


def test_passages_come_back_as_they_went_in(store: Store) -> None:
    text = "# 제목 😀\n\n## 하나\n\n첫 문장이에요. 둘째예요.\n\n## 둘\n\n셋째예요."
    document, added, removed = put(store, "글.md", text)
    first, second = store.passages(added)
    assert removed == []
    assert (first.document_id, first.document, first.title, first.section) == (
        document.id,
        "글.md",
        "제목 😀",
        "하나",
    )
    assert first.text == store.text(document.id)[first.start : first.end] == "첫 문장이에요. 둘째예요."
    assert [store.text(document.id)[a:b] for a, b in first.sentences] == ["첫 문장이에요.", "둘째예요."]
    assert store.neighbours(first.id) == (None, second)
    assert store.neighbours(second.id) == (first, None)
    assert store.neighbours(999) == (None, None)
    assert list(store.passages([999, second.id])) == [second]


def test_the_same_name_replaces_and_ids_are_never_used_again(store: Store) -> None:
    old, first, _ = put(store, "글.txt", "하나예요.")
    new, second, removed = put(store, "글.txt", "둘이에요.")
    assert removed == first
    assert not set(first) & set(second)
    assert store.documents() == [new]
    assert store.remove(new.id) == (new, second)
    _, third, _ = put(store, "글.txt", "셋이에요.")
    assert min(third) > max(second)
    with pytest.raises(DocumentNotFoundError, match="없어요"):
        store.text(old.id)


def test_a_document_is_found_by_id_and_by_name_in_any_form(store: Store) -> None:
    document, _, _ = put(store, "휴가.txt", "글이에요.")
    for key in (document.id, "휴가.txt", unicodedata.normalize("NFD", "휴가.txt")):
        assert store.document(key) == document
    assert store.chunk_ids(["휴가.txt", "없는 것"]) == store.chunk_ids([document.id]) == store.chunk_ids()
    with pytest.raises(DocumentNotFoundError):
        store.remove("없는 것")


def test_vectors_live_and_die_with_their_passages(store: Store) -> None:
    vectors = np.array([[0.6, 0.8]], np.float32)
    document, added, _ = put(store, "글.txt", "글이에요.", vectors)
    found, stored = store.vectors([*added, 404])
    assert found == added
    np.testing.assert_allclose(stored, vectors, atol=1e-3)
    store.use_encoder("other")
    assert store.vectors(added)[0] == []
    store.put_vectors(added, vectors)
    assert store.encoder == "other"
    store.remove(document.id)
    assert store.vectors(added)[0] == []


def test_a_failed_put_changes_nothing(store: Store) -> None:
    before, ids, _ = put(store, "글.txt", "글이에요.")
    with pytest.raises(ValueError, match="zip"):
        put(store, "글.txt", "다른 글이에요.", np.zeros((7, 2), np.float32))
    assert store.documents() == [before]
    assert store.chunk_ids() == set(ids)


def test_each_database_has_an_id_of_its_own(tmp_path: Path, store: Store) -> None:
    other = Store(tmp_path / "other.db")
    assert other.id != store.id
    other.close()


def test_the_version_follows_other_connections_only(tmp_path: Path, store: Store) -> None:
    before = store.version
    put(store, "가.txt", "글이에요.")
    assert store.version == before
    other = Store(tmp_path / "documents.db")
    put(other, "나.txt", "글이에요.")
    other.close()
    assert store.version != before


def test_a_store_from_before_collections_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    connection = connect(path, MIGRATIONS[:1])
    row = ("a" * 32, "휴가.txt", "b" * 64, "2026-01-01T00:00:00+00:00", "휴가", "연차는 열다섯 날입니다.", 30)
    connection.execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    connection.execute(
        "INSERT INTO chunks (document_id, start, end, section, sentences) VALUES (?, 0, 13, '', '[[0, 13]]')",
        (row[0],),
    )
    connection.close()
    store = Store(path)
    (document,) = store.documents()
    assert (document.id, document.name, document.passages, document.collection) == (row[0], row[1], 1, "")
    assert next(store.passages([1])).text == row[5]
    assert store.chunk_id_array().tolist() == [1]
    store.close()
