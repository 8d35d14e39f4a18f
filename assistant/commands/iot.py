"""`damso iot …`: learn what is normal for a device on the network, and look for what is not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assistant.errors import DamsoError
from assistant.settings import Settings

if TYPE_CHECKING:
    from compression.iot.features import ColumnChoice, Records, Schema
    from compression.iot.profiles import Profile

app = typer.Typer(
    help="네트워크 기기의 평소 모습을 배우고, 평소와 다른 움직임을 찾아요.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="기기 이름.", metavar="이름")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON 하나로 출력해요.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="숫자가 비었거나 NaN·무한대인 줄은 빼고 진행해요.")]


@app.command()
def learn(
    name: Name,
    files: Annotated[
        list[Path],
        typer.Argument(
            help="평소 기록: 캡처(pcap, pcapng)나 표(CSV, Parquet). 시간 순서대로.", metavar="파일…"
        ),
    ],
    rename: Annotated[
        list[str] | None, typer.Option("--map", help="표의 열 이름을 바꿔 읽어요.", metavar="표의열=이름")
    ] = None,
    time: Annotated[str, typer.Option(help="시간이 적힌 열.", metavar="열")] = "",
    category: Annotated[
        list[str] | None, typer.Option(help="값이 이름인 열. 예: 프로토콜.", metavar="열")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="쓰지 않을 열.", metavar="열")] = None,
    skip_bad: SkipBad = False,
) -> None:
    """기기의 평소 기록을 배워 프로필을 만들어요. 같은 이름이 있으면 새로 배운 것으로 바꿔요."""
    from compression.iot.errors import TrafficError
    from compression.iot.features import ColumnChoice
    from compression.iot.learn import learn as fit
    from compression.iot.profiles import checked_name, save

    name = checked_name(name)
    choice = ColumnChoice(_pairs(rename or []), time, tuple(category or ()), tuple(ignore or ()))
    with _progress("파일 읽기", len(files)) as advance:
        records, schema, tables = _read(files, choice, skip_bad, advance)
    with _progress("배우기", None) as advance:
        profile = fit(name, records, schema, choice if tables else None, progress=advance)
    try:
        save(profile, Settings.load().home)
    except OSError as error:
        raise TrafficError(
            "프로필을 저장하지 못했어요. 전에 배운 것은 그대로 있어요.",
            "디스크 공간과 폴더 권한을 확인해 주세요.",
        ) from error
    for note in dict.fromkeys(note for item in records for note in item.notes):
        typer.echo(note)
    _echo_learnt(profile)


@app.command()
def check(
    name: Name,
    file: Annotated[Path, typer.Argument(help="살펴볼 기록.", metavar="파일")],
    picture: Annotated[
        Path | None, typer.Option(help="시간에 따른 점수를 PNG 그림으로 남겨요.", metavar="파일")
    ] = None,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """배워 둔 프로필로 기록을 살펴보고, 평소와 다른 구간을 보여 줘요."""
    from assistant.tools.iot import examine
    from compression.iot.profiles import load

    profile = load(name, Settings.load().home)
    with _progress("살펴보기", None):
        result = examine(profile, file, skip_bad, draw=picture is not None)
    if picture is not None:
        _write_picture(picture, result.picture)
    if as_json:
        typer.echo(json.dumps(result.to_json(), ensure_ascii=False))
        return
    for note in result.notes:
        typer.echo(note)
    typer.echo(result.text)


@app.command()
def profiles(as_json: AsJson = False) -> None:
    """배워 둔 기기를 모두 보여 줘요."""
    from compression.iot.profiles import load_all

    found = load_all(Settings.load().home)
    if as_json:
        rows = [_error_row(item) if isinstance(item, DamsoError) else _profile_row(item) for item in found]
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for item in found:
        typer.echo(f"✗ {item}" if isinstance(item, DamsoError) else _line(item))
    typer.echo(
        f"모두 {len(found)}개" if found else "아직 배운 기기가 없어요. damso iot learn으로 배워 주세요."
    )


@app.command()
def watch(
    name: Name,
    file: Annotated[str, typer.Argument(help="자라는 파일. -는 표준 입력이에요.", metavar="[파일|-]")] = "-",
    every: Annotated[bool, typer.Option("--all", help="이상이 아닌 기록의 점수도 모두 출력해요.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="파일 끝에서 더 자라기를 기다려요.")
    ] = True,
) -> None:
    """들어오는 기록을 바로바로 살펴보고, 일이 생길 때마다 JSON 한 줄을 써요. Ctrl+C로 끝내요.

    event는 alarm(이상 시작), clear(이상 끝), skipped(읽지 못한 기록), --all이면 record(기록)예요.
    """
    from compression.iot.infer import Detector
    from compression.iot.profiles import load
    from compression.iot.watch import Growing
    from compression.iot.watch import watch as judge

    detector = Detector(load(name, Settings.load().home))
    # Ctrl+C is how a watch ends; every event is written before the next record is read.
    with _source(file) as opened, suppress(KeyboardInterrupt):
        for event in judge(detector, Growing(opened, follow and file != "-")):
            if every or event.event != "record":
                typer.echo(json.dumps(asdict(event), ensure_ascii=False))
                sys.stdout.flush()


def _read(
    files: Sequence[Path], choice: ColumnChoice, skip_bad: bool, advance: Any
) -> tuple[list[Records], Schema, bool]:
    """The files' records, their schema, and whether they are tables."""
    from assistant.tools.iot import looks_like_capture
    from compression.iot.capture import CAPTURE_FEATURES, read_capture
    from compression.iot.errors import TrafficError
    from compression.iot.features import Schema, encode, learn_schema, renamed
    from compression.iot.tables import read_table

    captures = [looks_like_capture(file) for file in files]
    if any(captures) and not all(captures):
        raise TrafficError("캡처와 표를 함께 배울 수는 없어요.", "한 가지 종류의 파일만 주세요.")
    if all(captures):
        records = []
        for file in files:
            records.append(read_capture(file, restart=True))
            advance()
        return records, Schema(tuple(CAPTURE_FEATURES)), False
    tables = []
    for file in files:
        tables.append(renamed(read_table(file), choice))
        advance()
    schema = learn_schema(tables, choice)
    return [encode(table, schema, skip_bad) for table in tables], schema, True


def _pairs(maps: Sequence[str]) -> dict[str, str]:
    from compression.iot.errors import TrafficError

    parts = [text.partition("=") for text in maps]
    for before, sign, after in parts:
        if not (before and sign and after):
            raise TrafficError(
                f"--map 값을 읽을 수 없어요: {before}{sign}{after}", "--map 표의열=이름처럼 적어 주세요."
            )
    return {before: after for before, _, after in parts}


@contextmanager
def _progress(title: str, total: int | None) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def _source(file: str) -> Iterator[Any]:
    from compression.iot.errors import TrafficError

    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        opened = Path(file).open("rb")
    except OSError as error:
        raise TrafficError(
            f"파일을 열 수 없어요: {Path(file).name}", "경로와 권한을 확인해 주세요."
        ) from error
    with opened:
        yield opened


def _write_picture(path: Path, picture: bytes) -> None:
    from compression.iot.errors import TrafficError

    if not picture:
        raise TrafficError(
            "그림을 그리는 꾸러미 matplotlib이 없어요.", "pip install 'damso[train]'으로 설치해 주세요."
        )
    try:
        path.write_bytes(picture)
    except OSError as error:
        raise TrafficError(
            f"그림을 쓸 수 없어요: {path.name}", "폴더가 있는지, 쓸 수 있는지 확인해 주세요."
        ) from error


def _echo_learnt(profile: Profile) -> None:
    figures = profile.figures
    if figures["constant"]:
        shown = ", ".join(figures["constant"][:5])
        more = f" 외 {len(figures['constant']) - 5}개" if len(figures["constant"]) > 5 else ""
        typer.echo(f"값이 하나뿐인 특징: {shown}{more}. 값이 달라지면 이상으로 봐요.")
    typer.echo(
        f"'{profile.name}'의 평소 모습을 기록 {figures['records']:,}개로 배웠어요. "
        f"따로 둔 평소 기록의 {figures['false_positive_rate']:.2%}가 기준을 넘어요. "
        f"모델 {figures['bytes'] / 1000:.1f} kB."
    )


def _line(profile: Profile) -> str:
    kind = "캡처" if profile.capture else "표"
    records, learnt = profile.figures.get("records", 0), profile.figures.get("learnt", "")
    return f"{profile.name}  {kind}  특징 {len(profile.schema.features)}개  기록 {records:,}개  {learnt}"


def _profile_row(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "capture": profile.capture,
        "features": profile.schema.features,
        "threshold": profile.threshold,
        **profile.figures,
    }


def _error_row(error: DamsoError) -> dict[str, str]:
    return {"error": str(error)}
