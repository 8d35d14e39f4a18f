from __future__ import annotations

import time
from pathlib import Path

import pytest

from agents import personal, train_personal
from agents.encoder import Encoder
from agents.errors import CatalogueError, UnknownAgentError
from agents.personal import ADAPTER, PersonalAgents
from agents.router import Router
from compression.artefacts import models_folder

LIBRARIAN = {
    "borrow": (
        "책 빌려 줘,소설책 빌리고 싶어,이 책 대출해 줘,만화책 빌릴래,시집 한 권 빌려 주세요,"
        "책 대출 부탁해,그 책 나도 빌려 줘,동화책 빌려 가도 돼,잡지 빌려 줘,새 책 빌리고 싶어요,"
        "두꺼운 책 하나 대출,역사책 빌려 주라,책 좀 빌려,추리 소설 대출해 줘,과학책 빌리게 해 줘,"
        "그림책 대출할게,도감 빌려 줘,사전 하나 대출해 줘,영어 책 빌릴래요,요리책 빌려 줄래"
    ),
    "give_back": (
        "책 반납할게,빌린 책 돌려줄게,이 책 반납해 줘,소설책 반납이요,만화책 돌려줄래,"
        "시집 반납하고 싶어,책 반납 처리해 줘,동화책 다 읽었어 반납,잡지 돌려줄게요,반납하러 왔어,"
        "두꺼운 책 반납,역사책 돌려드릴게요,빌려 간 책 반납해요,추리 소설 반납할래,"
        "과학책 반납 부탁해,그림책 돌려줄게,도감 반납이요,사전 반납해 주세요,영어 책 돌려줄래요,"
        "요리책 반납할게요"
    ),
    "extend": (
        "책 더 오래 볼래,대출 연장해 줘,기간 늘려 줘 책,일주일만 연장,소설책 연장할게,"
        "만화책 기한 늘려 줘,아직 덜 읽었어 연장해 줘,대출 기간 연장 부탁해,시집 연장이요,"
        "동화책 며칠 더 볼게,연장 가능하면 해 줘 책,잡지 연장해 주세요,두꺼운 책이라 연장할래,"
        "역사책 연장,추리 소설 더 볼게 연장해,과학책 대출 연장,그림책 기간 늘려 줘요,도감 연장할래요,"
        "사전 더 쓸게 연장,요리책 연장해 줘"
    ),
    "find": (
        "책 찾아 줘,소설 어디 꽂혀 있어,그 작가 책 있어,만화책 몇 번 서가야,시집 코너가 어디야,"
        "동화책 찾고 있어,잡지 자리 알려 줘,이 책 소장하고 있어,역사책 서가 알려 줘,"
        "추리 소설 칸이 어디지,과학책 있나 봐 줘,그림책 찾아 줄래,도감 어디 있니,사전 찾아 주세요,"
        "영어 책 코너 어디,요리책 있는지 검색해 줘,새로 들어온 책 뭐 있어,베스트셀러 책 있어,"
        "책 제목으로 찾아 줘,저자로 책 검색해 줘"
    ),
    "recommend": (
        "재밌는 책 추천해 줘,소설 추천,요즘 볼만한 책 뭐야,아이한테 읽어 줄 책 골라 줘,"
        "만화책 추천해 주라,시집 하나 골라 줘,슬픈 책 읽고 싶어 추천,무서운 소설 추천해 줘,"
        "여행 갈 때 읽을 책 추천,잡지 추천해 줘요,쉬운 역사책 권해 줘,추리 소설 뭐가 좋아,"
        "과학책 입문 추천,그림책 골라 줄래,선물할 책 추천해 줘,짧은 책 추천,두꺼운 책 추천해 봐,"
        "청소년 책 권해 주세요,영어 책 쉬운 거 추천,요리책 좋은 거 골라 줘"
    ),
}


def write_librarian(parent: Path, intents: dict[str, str] | None = None, name: str = "librarian") -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    chosen = LIBRARIAN if intents is None else intents
    listed = "".join(f'\n[[intents]]\nname = "{intent}"\ndescription = "{intent}."\n' for intent in chosen)
    (folder / "agent.toml").write_text(
        f'name = "{name}"\ntitle = "사서"\ndescription = "책을 돌봅니다."\nreply = "사서에게 전할게요."\n{listed}',
        encoding="utf-8",
    )
    lines = [f"{intent}\t{text}" for intent, texts in chosen.items() for text in texts.split(",")]
    (folder / "utterances.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(models_folder() / "encoder")


@pytest.fixture
def mine(tmp_path: Path, encoder: Encoder) -> PersonalAgents:
    return PersonalAgents(tmp_path / "home" / "agents", encoder)


@pytest.fixture
def router(encoder: Encoder) -> Router:
    return Router.load(encoder, models_folder() / "router")


def test_five_intents_of_twenty_lines_train_in_seconds(
    mine: PersonalAgents, router: Router, tmp_path: Path
) -> None:
    agent = mine.add(write_librarian(tmp_path / "source"))
    assert [len(texts.split(",")) for texts in LIBRARIAN.values()] == [20] * 5
    began = time.process_time()
    result = train_personal.train(mine, agent.name)
    # Of processor time: a busy machine must not fail the test.
    assert time.process_time() - began < 10
    assert result.held_out >= 10 and result.intent_accuracy >= 0.9 and result.recognised >= 0.9
    with_mine = router.with_agents(mine.trained())
    assert with_mine.route("과학책 한 권 대출해 줘").best[:2] == ("librarian", "borrow")
    # Nobody else's score has moved by a bit.
    for text in ("거실 불 켜 줘", "책은 몇 권까지 빌릴 수 있나요?", "고마워", "내일 회의 잡아 줘"):
        old, new = router.route(text), with_mine.route(text)
        assert {name: new.raw[name] for name in old.raw} == old.raw
        assert {name: new.intents[name] for name in old.intents} == old.intents
        assert new.best.agent == old.best.agent


def test_a_failed_training_leaves_the_old_adapter(
    mine: PersonalAgents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_librarian(tmp_path / "source", {k: LIBRARIAN[k] for k in ("borrow", "find")})
    mine.add(source)
    train_personal.train(mine, "librarian")
    place = tmp_path / "home" / "agents" / "librarian"
    before = (place / ADAPTER).read_bytes()
    (place / "utterances.tsv").write_text("borrow\t책\nfind\n", encoding="utf-8")
    with pytest.raises(CatalogueError, match="2번째 줄"):
        train_personal.train(mine, "librarian")
    assert (place / ADAPTER).read_bytes() == before
    mine.add(source)

    def fail(*_: object, **__: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(personal, "save_file", fail)
    with pytest.raises(OSError, match="no room"):
        train_personal.train(mine, "librarian")
    assert (place / ADAPTER).read_bytes() == before
    assert sorted(path.name for path in place.iterdir()) == [ADAPTER, "agent.toml", "utterances.tsv"]


def test_an_adapter_that_does_not_fit_is_left_out(
    mine: PersonalAgents, tiny: Encoder, tmp_path: Path
) -> None:
    mine.add(write_librarian(tmp_path / "source", {k: LIBRARIAN[k] for k in ("borrow", "find")}))
    assert not mine.is_trained("librarian") and mine.trained() == ()
    train_personal.train(mine, "librarian")
    assert mine.is_trained("librarian") and [agent.name for agent, _ in mine.trained()] == ["librarian"]
    other = PersonalAgents(tmp_path / "home" / "agents", tiny)
    assert not other.is_trained("librarian") and other.trained() == ()
    (tmp_path / "home" / "agents" / "librarian" / ADAPTER).write_bytes(b"broken")
    assert not mine.is_trained("librarian") and mine.trained() == ()


@pytest.mark.parametrize("name", ["..", "../librarian", "없는 것", "", "a" * 300, "librarian/.."])
def test_a_name_never_becomes_a_path(mine: PersonalAgents, tmp_path: Path, name: str) -> None:
    mine.add(write_librarian(tmp_path / "source"))
    for act in (mine.remove, mine.load, mine.is_trained):
        with pytest.raises(UnknownAgentError):
            act(name)
    assert [agent.name for agent in mine.describe()] == ["librarian"]


def test_a_shipped_name_and_too_few_lines_are_refused(mine: PersonalAgents, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="'home'"):
        mine.add(write_librarian(tmp_path / "a", name="home"))
    with pytest.raises(CatalogueError, match="의도 'find'의 발화가 2개"):
        mine.add(write_librarian(tmp_path / "b", {"borrow": LIBRARIAN["borrow"], "find": "하나,둘"}))
    assert mine.describe() == ()


def test_an_agent_is_removed_with_all_of_it(mine: PersonalAgents, tmp_path: Path) -> None:
    mine.add(write_librarian(tmp_path / "source"))
    mine.remove("librarian")
    assert mine.describe() == () and not (tmp_path / "home" / "agents" / "librarian").exists()
