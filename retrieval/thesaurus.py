"""Words and short expressions that stand for each other when somebody asks about a document.

People ask in everyday words (방값, 그만두다), documents answer in official ones (월세, 퇴사). The groups were
written for this project (``data/thesaurus/*.tsv``); `compile_groups` turns them into the morphemes in which an
index thinks, so that nothing is analysed when the assistant starts.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from retrieval.morphology import content_morphemes

COMPILED = Path(__file__).with_name("thesaurus.json")
_OTHERS, _SHORT = 6, 2
Words = frozenset[str]


@dataclass(frozen=True)
class Paraphrase:
    """An expression found in a text, and others that may stand in its place.

    Attributes:
        words: content morphemes of the expression.
        others: content morphemes of each of the others.
    """

    words: Words
    others: tuple[Words, ...]


class Thesaurus:
    """Groups of expressions, each a set of content morphemes."""

    def __init__(self, groups: Iterable[Sequence[Words]]) -> None:
        self._groups = [tuple(group) for group in groups]
        self._places: dict[str, list[tuple[int, Words]]] = defaultdict(list)
        for number, group in enumerate(self._groups):
            for words in dict.fromkeys(group):
                self._places[min(words)].append((number, words))

    @classmethod
    def load(cls, path: Path = COMPILED) -> Thesaurus:
        """Reads what `compile_groups` wrote."""
        groups = json.loads(path.read_text(encoding="utf-8"))
        return cls([[frozenset(member.split()) for member in group] for group in groups])

    def paraphrases(self, terms: Collection[str]) -> list[Paraphrase]:
        """Every expression all of whose words are among the terms, with the rest of its group."""
        known, found = frozenset(terms), list[Paraphrase]()
        for term in dict.fromkeys(terms):
            for number, words in self._places.get(term, ()):
                if words <= known:
                    others = tuple(other for other in self._groups[number] if not other <= known)
                    found.append(Paraphrase(words, others))
        return found

    def expansion(self, terms: Collection[str]) -> tuple[str, ...]:
        """Words to search for beside the terms: those of short paraphrases, each once."""
        words = [
            word
            for found in self.paraphrases(terms)
            for other in found.others[:_OTHERS]
            if len(other) <= _SHORT
            for word in sorted(other)
        ]
        return tuple(word for word in dict.fromkeys(words) if word not in terms)


@cache
def thesaurus() -> Thesaurus:
    """The shipped one, loaded once a process."""
    return Thesaurus.load()


def read_groups(folder: Path) -> Iterator[list[str]]:
    """The groups of a folder as they were written.

    ``nouns.tsv`` and ``verbs.tsv`` hold a group a line. In ``situations.tsv`` and ``questions.tsv`` the second
    column is a list; in ``instances.tsv`` the first word stands for each of the others, but they not for one
    another.
    """
    for path in sorted(folder.glob("*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            first, *others = filter(None, (member.strip() for member in line.split("\t")))
            if path.stem in ("situations", "questions"):
                others = [other.strip() for other in others[-1].split(" / ")]
            if path.stem == "instances":
                yield from ([first, other] for other in others)
            else:
                yield [first, *others]


def compile_groups(folder: Path, path: Path = COMPILED) -> int:
    """Writes the groups of a folder as content morphemes; members that lose too much by it are left out.

    Returns:
        How many groups there are.
    """
    groups = []
    for members in read_groups(folder):
        kept = list(dict.fromkeys(filter(None, map(_words, members))))
        if len(kept) > 1:
            groups.append(kept)
    lines = ",\n".join(json.dumps(group, ensure_ascii=False) for group in sorted(groups))
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return len(groups)


def _words(member: str) -> str:
    """The member's content morphemes; none if several words come down to one, which would say too little."""
    words = sorted(set(content_morphemes(member)))
    return " ".join(words) if len(words) > 1 or len(member.split()) == 1 else ""
