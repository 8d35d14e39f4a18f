from __future__ import annotations

from pathlib import Path

from retrieval.morphology import content_morphemes
from retrieval.thesaurus import COMPILED, Thesaurus, compile_groups, read_groups

OWN = Path(__file__).resolve().parents[2] / "data" / "thesaurus"


def words(*texts: str) -> list[frozenset[str]]:
    return [frozenset(text.split()) for text in texts]


def test_an_expression_is_found_when_all_its_words_are_there() -> None:
    thesaurus = Thesaurus([words("방 값", "월세", "임대료"), words("값", "가격")])
    found = thesaurus.paraphrases(["방", "값", "얼마"])
    assert {(p.words, p.others) for p in found} == {
        (frozenset({"방", "값"}), tuple(words("월세", "임대료"))),
        (frozenset({"값"}), tuple(words("가격"))),
    }
    assert thesaurus.paraphrases(["방"]) == [] and thesaurus.paraphrases([]) == []


def test_expansion_gives_words_that_the_query_lacks() -> None:
    thesaurus = Thesaurus([words("방 값", "월세", "아주 길고 긴 말"), words("월세", "임대료")])
    assert thesaurus.expansion(("방", "값")) == ("월세",)
    assert thesaurus.expansion(("월세",)) == ("값", "방", "임대료")


def test_groups_are_read_by_the_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "nouns.tsv").write_text("방값\t월세\t임대료\n", encoding="utf-8")
    (tmp_path / "situations.tsv").write_text("집을 비우다\t퇴거 / 명도\n", encoding="utf-8")
    (tmp_path / "instances.tsv").write_text("술\t막걸리\t소주\n", encoding="utf-8")
    assert sorted(read_groups(tmp_path)) == sorted(
        [["방값", "월세", "임대료"], ["집을 비우다", "퇴거", "명도"], ["술", "막걸리"], ["술", "소주"]]
    )


def test_members_that_lose_too_much_are_left_out(tmp_path: Path) -> None:
    """Of 집에 가다 only 집 would be left, and everything about houses would be a way to go home."""
    folder = tmp_path / "groups"
    folder.mkdir()
    (folder / "verbs.tsv").write_text("집에 있다\t복귀\t집에 돌아가다\n", encoding="utf-8")
    assert compile_groups(folder, tmp_path / "compiled.json") == 1
    thesaurus = Thesaurus.load(tmp_path / "compiled.json")
    assert thesaurus.paraphrases(["집"]) == []
    assert thesaurus.paraphrases(["복귀"])[0].others == (frozenset(content_morphemes("집에 돌아가다")),)


def test_the_shipped_thesaurus_is_the_compiled_one(tmp_path: Path) -> None:
    compile_groups(OWN, tmp_path / "compiled.json")
    assert (tmp_path / "compiled.json").read_text(encoding="utf-8") == COMPILED.read_text(encoding="utf-8")


def test_the_shipped_thesaurus_knows_everyday_words() -> None:
    thesaurus = Thesaurus.load()
    for everyday, official in (("공짜", "무료"), ("방값", "월세"), ("핸드폰", "휴대전화")):
        others = {
            word
            for p in thesaurus.paraphrases(content_morphemes(everyday))
            for other in p.others
            for word in other
        }
        assert set(content_morphemes(official)) & others, everyday
