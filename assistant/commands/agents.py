"""`damso agents …`: who answers what, and agents of one's own."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assistant.errors import UnknownAgentError
from assistant.settings import Settings

if TYPE_CHECKING:
    from agents.catalogue import Agent
    from agents.personal import PersonalAgents
    from agents.router import RouteScores

app = typer.Typer(help="도우미(에이전트)를 보고, 더하고, 학습해요.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="도우미 이름.", metavar="이름")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON 하나로 출력해요.")]


@app.command("list")
def list_agents(as_json: AsJson = False) -> None:
    """도우미를 모두 보여 줘요."""
    from agents.catalogue import describe_catalogue

    personal = _personal()
    mine = personal.describe()
    states = {agent.name: "내장" for agent in describe_catalogue()}
    states |= {agent.name: "내 도우미" if personal.is_trained(agent.name) else "학습 전" for agent in mine}
    agents = [*describe_catalogue(), *mine]
    if as_json:
        _echo_json([{**_described(agent), "state": states[agent.name]} for agent in agents])
        return
    rows = [
        (agent.name, agent.title, str(len(agent.intents)), states[agent.name], agent.description)
        for agent in agents
    ]
    _print_table(("이름", "", "의도", "상태", "하는 일"), rows)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """도우미 하나의 의도와 답하는 방법, 예문을 보여 줘요."""
    from agents.catalogue import CATALOGUE, load_agent

    shipped = {path.name: path for path in CATALOGUE.iterdir() if path.is_dir()}
    agent = load_agent(shipped[name]) if name in shipped else _personal().load(name)
    if as_json:
        _echo_json(_described(agent))
        return
    typer.echo(f"{agent.title} ({agent.name})\n{agent.description}")
    for intent, description in agent.intents.items():
        said = [line.text for line in agent.utterances if line.intent == intent]
        typer.echo(f"\n{intent}: {description}\n  {_way(agent, intent)} · 발화 {len(said)}개")
        typer.echo("".join(f"  - {text}\n" for text in said[:3]), nl=False)


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="agent.toml과 utterances.tsv가 든 폴더.", metavar="폴더")],
) -> None:
    """내 도우미를 더하고 학습해요."""
    personal = _personal()
    agent = personal.add(folder)
    typer.echo(f"{agent.title}({agent.name}) 도우미를 더했어요.")
    _train(personal, agent.name)


@app.command()
def train(
    name: Annotated[
        str | None, typer.Argument(help="도우미 이름. 없으면 내 도우미를 모두 학습해요.", metavar="이름")
    ] = None,
) -> None:
    """내 도우미를 학습해요."""
    personal = _personal()
    names = [name] if name else [agent.name for agent in personal.describe()]
    if not names:
        typer.echo("더한 도우미가 없어요. damso agents add 폴더 로 더해 주세요.")
    for each in names:
        _refuse_shipped(each, "내장 도우미는 damso train router로 학습해요.")
        _train(personal, each)


@app.command("rm")
def remove(name: Name) -> None:
    """내 도우미를 지워요."""
    _refuse_shipped(name, "내장 도우미는 지울 수 없어요.")
    _personal().remove(name)
    typer.echo(f"{name} 도우미를 지웠어요.")


@app.command()
def test(
    utterance: Annotated[str, typer.Argument(help="어디로 갈지 볼 말.", metavar="발화")],
    every: Annotated[bool, typer.Option("--all", help="모든 도우미의 점수를 표로 보여 줘요.")] = False,
    as_json: AsJson = False,
) -> None:
    """말이 어느 도우미로 가는지 보여 줘요."""
    from agents.router import Router

    personal = _personal()
    scores = Router.load(personal.encoder).with_agents(personal.trained()).route(utterance)
    if as_json:
        _echo_json(
            {
                "best": scores.best._asdict(),
                "agents": scores.agents,
                "raw": scores.raw,
                "intents": scores.intents,
            }
        )
        return
    rows = _score_rows(scores)
    _print_table(("도우미", "확률", "점수", "의도", "의도 확률"), rows if every else rows[:1])


def _score_rows(scores: RouteScores) -> list[tuple[str, ...]]:
    """One row an agent, the likeliest first; the score is the adapter's own log-odds."""
    rows: list[tuple[str, ...]] = []
    for agent, probability in sorted(scores.agents.items(), key=lambda item: -item[1]):
        intents: Mapping[str, float] = scores.intents.get(agent, {})
        intent = max(intents, key=intents.__getitem__, default="")
        rows.append(
            (
                agent,
                f"{probability:.1%}",
                f"{scores.raw[agent]:+.2f}",
                intent,
                f"{intents.get(intent, 0):.1%}",
            )
        )
    return rows


def _personal() -> PersonalAgents:
    from agents.encoder import Encoder
    from agents.personal import PersonalAgents

    return PersonalAgents(Settings.load().home / "agents", Encoder.load())


def _train(personal: PersonalAgents, name: str) -> None:
    from agents.train_personal import train as train_adapter

    with _spinner(f"{name} 학습"):
        result = train_adapter(personal, name)
    shares = ""
    if not math.isnan(result.intent_accuracy):
        shares = (
            f" 따로 둔 {result.held_out}개 가운데 {result.recognised:.0%}를 알아보고"
            f" {result.intent_accuracy:.0%}의 의도를 맞혔어요."
        )
    typer.echo(f"{name}: 발화 {result.lines}개로 학습했어요.{shares}")


@contextmanager
def _spinner(label: str) -> Iterator[None]:
    from rich.console import Console

    with Console(stderr=True).status(label):
        yield


def _refuse_shipped(name: str, why: str) -> None:
    from agents.catalogue import describe_catalogue

    if name in {agent.name for agent in describe_catalogue()}:
        raise UnknownAgentError(f"'{name}'은(는) 담소에 들어 있는 도우미예요.", why)


def _way(agent: Agent, intent: str) -> str:
    """What answers an intent, in Korean."""
    answer = agent.answers[intent]
    if answer.tool:
        return f"도구 {answer.tool}"
    if answer.documents:
        return f"문서 {', '.join(answer.documents)}"
    return f"답 ‘{answer.reply}’" if answer.reply else "담소가 답해요"


def _described(agent: Agent) -> dict[str, Any]:
    intents = [
        {"name": intent, "description": text, "answer": vars(agent.answers[intent])}
        for intent, text in agent.intents.items()
    ]
    return {"name": agent.name, "title": agent.title, "description": agent.description, "intents": intents}


def _print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _echo_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
