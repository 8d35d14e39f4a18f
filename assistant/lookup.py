"""From a message in a conversation to a question ready for matching and the passages found for it."""

from __future__ import annotations

from collections.abc import Collection

from assistant.context import Context
from assistant.grounding import Question, topic_terms
from retrieval.index import Hit, Index, SentenceEncoder
from retrieval.thesaurus import thesaurus

_PASSAGES = 8


def look_up(
    message: str,
    context: Context,
    index: Index,
    encoder: SentenceEncoder,
    documents: Collection[str] | None = None,
) -> tuple[Question, list[Hit]]:
    """Searches for a message; a conversation's last document is searched on its own as well.

    Args:
        message: what is asked.
        context: what the conversation lends to it.
        index: the documents.
        encoder: encodes the message together with the carried topic.
        documents: ids of the documents to search; None searches all.

    Returns:
        The question and the passages, each once, best first.
    """
    terms = topic_terms(message)
    carried = tuple(term for term in context.carried if term not in terms)
    vector = encoder.encode([" ".join([message, *carried])])[0]
    others = [word for word in thesaurus().expansion(terms) if word not in carried]
    hits = index.search(message, _PASSAGES, documents, expansion=others, context=carried)
    stay = context.documents if documents is None else context.documents & set(documents)
    if stay:
        hits += index.search(message, _PASSAGES // 2, stay, expansion=others, context=carried)
    question = Question(message, terms, carried, vector, context.question)
    return question, list({hit.passage.id: hit for hit in hits}.values())
