from __future__ import annotations

from pathlib import Path

import numpy as np

from agents.encoder import Encoder
from assistant.context import Context
from assistant.lookup import look_up
from retrieval.index import Index


def ids(index: Index) -> dict[str, str]:
    return {document.name: document.id for document in index.documents()}


def test_terms_of_the_message_are_not_carried_again(library: Index, encoder: Encoder) -> None:
    context = Context(carried=("체육관", "주차"))
    question, _ = look_up("주차는 어디에 해요?", context, library, encoder)
    assert question.text == "주차는 어디에 해요?"
    assert question.terms == ("주차",) and question.carried == ("체육관",)
    np.testing.assert_array_equal(question.vector, encoder.encode(["주차는 어디에 해요? 체육관"])[0])


def test_the_carried_topic_brings_its_document_to_the_top(library: Index, encoder: Encoder) -> None:
    for name, word in (("체육관.md", "체육관"), ("도서관.md", "도서관")):
        _, hits = look_up("차는 어디에 세워요?", Context(carried=(word,)), library, encoder)
        assert hits[0].passage.document == name


def test_the_last_document_is_searched_on_its_own(library: Index, encoder: Encoder, tmp_path: Path) -> None:
    park = tmp_path / "공원.md"
    gates = (
        f"## {n}번 문\n\n{n}번 문은 공원 둘레에 있는 문으로 아침 {n}시에 문을 엽니다.\n" for n in range(1, 10)
    )
    park.write_text("# 공원 문 안내\n\n" + "\n".join(gates), encoding="utf-8")
    library.ingest([park])
    last = ids(library)["체육관.md"]
    for documents in (frozenset({last}), frozenset[str]()):
        _, hits = look_up("몇 시에 문을 열어요?", Context(documents=documents), library, encoder)
        found = {hit.passage.document for hit in hits}
        assert "공원.md" in found and ("체육관.md" in found) is bool(documents)
        places = [hit.passage.id for hit in hits]
        assert len(places) == len(set(places))


def test_chosen_documents_win_over_the_last_one(library: Index, encoder: Encoder) -> None:
    known = ids(library)
    context = Context(documents=frozenset({known["체육관.md"]}))
    _, hits = look_up("차는 어디에 세워요?", context, library, encoder, [known["도서관.md"]])
    assert {hit.passage.document for hit in hits} == {"도서관.md"}
