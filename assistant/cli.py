"""The command `damso`: every face of the terminal. Heavy imports wait until a command needs them."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assistant.commands import agents, audio, evaluate, iot, study, train, vision
from assistant.commands.compress import compress
from assistant.commands.usage import UsageError, usage_message
from assistant.errors import DamsoError
from assistant.events import Done, Source, Token, ToolResult
from assistant.settings import Settings

if TYPE_CHECKING:
    from assistant.dialog import Assistant
    from retrieval.index import IngestResult

SAMPLES = Path(__file__).parent.parent / "samples" / "documents"
_STATUSES = {"added": "넣음", "unchanged": "그대로", "replaced": "바꿈", "failed": "실패"}
_CHAT_HELP = "/docs 문서 목록 · /help 도움말 · /quit 끝내기 · 답하는 동안 Ctrl+C는 그 답만 멈춰요."

app = typer.Typer(
    name="damso",
    help="담소: 내 문서를 근거로 한국어로 답하는, 이 컴퓨터 안의 대화 도우미.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
documents_app = typer.Typer(help="넣어 둔 문서를 보거나 지워요.", no_args_is_help=True)
app.add_typer(documents_app, name="docs")
app.add_typer(agents.app, name="agents")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="eval")
app.add_typer(study.app, name="study")
app.add_typer(iot.app, name="iot")
train.app.command("audio")(audio.train)
train.app.command("super-resolution")(vision.super_resolution)
evaluate.app.command("audio")(audio.measure)

Message = Annotated[str, typer.Argument(help="물어볼 말.", metavar="질문")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON 하나로 출력해요.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit.

    An error of ours, or of the file system, becomes one message on stderr and exit code 1, wrong usage exit code 2.

    Args:
        arguments: without the program's name; by default the process's own.
    """
    try:
        code = app(
            args=None if arguments is None else list(arguments), prog_name="damso", standalone_mode=False
        )
        sys.exit(code if isinstance(code, int) else 0)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(str(error))
        else:
            typer.echo(f"오류: {usage_message(error)}", err=True)
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("멈췄어요.", err=True)
        sys.exit(130)
    except DamsoError as error:
        typer.echo(f"오류: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        hint = "경로와 권한, 디스크의 남은 자리를 확인해 주세요."
        typer.echo(f"오류: 파일이나 폴더를 쓸 수 없어요{place}. {hint}", err=True)
        sys.exit(1)


@app.command()
def ask(
    question: Message,
    doc: Annotated[
        list[Path] | None,
        typer.Option(help="이 파일에서만 답을 찾아요. 여러 번 쓸 수 있고, 보관하지 않아요.", metavar="파일"),
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(help="메시지에 붙일 파일. 도구에 건네거나 문서로 넣어요.", metavar="파일"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """질문 하나에 답하고 근거를 보여 줘요."""
    with _assistant_over(doc or ()) as assistant:
        done = assistant.ask(question, files=file or ())
    _echo_json(done.to_json()) if as_json else _echo_answer(done)


@app.command()
def route(
    utterance: Annotated[str, typer.Argument(help="어디로 갈지 볼 말.", metavar="발화")],
    as_json: AsJson = False,
) -> None:
    """말이 어느 도우미와 의도로 가는지 점수를 보여 줘요."""
    with _assistant() as assistant:
        scores = assistant.route(utterance)
    if as_json:
        _echo_json(scores)
        return
    for agent, score in sorted(scores["agents"].items(), key=lambda item: -item[1]):
        typer.echo(f"{score:6.1%}  {agent}")
        for intent, part in sorted(scores["intents"].get(agent, {}).items(), key=lambda item: -item[1]):
            typer.echo(f"        {part:6.1%}  {intent}")


@app.command()
def chat() -> None:
    """터미널에서 이야기해요."""
    _enable_line_editing()
    with _assistant() as assistant:
        typer.echo(f"담소예요. 무엇이든 물어보세요.\n{_CHAT_HELP}")
        if not assistant.index.documents():
            typer.echo("아직 넣은 문서가 없어요. damso ingest로 문서를 넣으면 문서를 근거로 답할 수 있어요.")
        conversation: str | None = None
        for message in _typed_messages():
            for reminder in assistant.reminders():
                typer.echo(f"⏰ {reminder}")
            if message.startswith("/"):
                if not _obey(assistant, message):
                    return
                continue
            conversation = _reply(assistant, message, conversation)


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="문서 파일이나 폴더.", metavar="경로…")],
    watch: Annotated[
        bool, typer.Option("--watch", help="폴더를 지켜보며 새로 생기고 바뀌고 지워지는 파일을 따라가요.")
    ] = False,
    collection: Annotated[
        str | None, typer.Option(help="넣는 문서를 이 이름의 묶음에 담아요.", metavar="이름")
    ] = None,
) -> None:
    """문서를 넣어요. 실패한 파일이 있어도 나머지는 넣어요."""
    if watch:
        from assistant.commands.watch import follow

        follow(paths, collection)
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f}개 처리"), TimeElapsedColumn())
    with (
        _assistant() as assistant,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("", total=None)

        def show(result: IngestResult) -> None:
            progress.advance(task)
            _echo_result(result)

        results = assistant.index.ingest(paths, show, collection)
    failed = sum(result.error is not None for result in results)
    typer.echo(f"문서 {len(results) - failed}개를 넣었고 {failed}개는 실패했어요.")
    if failed or not results:
        raise typer.Exit(1)


@documents_app.command("list")
def list_documents(
    as_json: AsJson = False,
    collection: Annotated[
        str | None, typer.Option(help="이 묶음의 문서만 보여 줘요.", metavar="이름")
    ] = None,
) -> None:
    """넣어 둔 문서를 보여 줘요."""
    with _assistant() as assistant:
        documents = assistant.index.documents(collection)
    if as_json:
        keys = {"id": "id", "name": "name", "bytes": "size", "collection": "collection"}
        _echo_json([{key: getattr(item, field) for key, field in keys.items()} for item in documents])
        return
    for item in documents:
        group = f"  [{item.collection}]" if item.collection else ""
        typer.echo(f"{item.id[:8]}  {item.size:>9,} B  {item.name}{group}")
    typer.echo(f"모두 {len(documents)}개")


@documents_app.command("rm")
def remove_documents(
    names: Annotated[list[str], typer.Argument(help="문서 이름이나 id.", metavar="문서…")],
) -> None:
    """문서를 지워요."""
    with _assistant() as assistant:
        for name in names:
            typer.echo(f"지움  {assistant.index.remove(name).name}")


@app.command()
def doctor() -> None:
    """설치, 프로세서, 모델, 디스크가 괜찮은지 살펴봐요."""
    from assistant.doctor import examine

    healthy = True
    for check in examine(Settings.load()):
        healthy &= check.ok
        typer.echo(f"{'✓' if check.ok else '✗'} {check.name}: {check.detail}")
    if not healthy:
        raise typer.Exit(1)


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="열어 둘 주소. 다른 컴퓨터에 열려면 토큰이 필요해요.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="포트.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="브라우저로 화면을 열어요.")] = False,
) -> None:
    """화면과 OpenAI 호환 API를 열어요."""
    from assistant.daemon import server

    settings = Settings.load(host=host, port=port)
    listener = server.bind(settings)
    # The page stands above this package; only the command that starts everything reaches up to it.
    from app import mount_page
    from assistant.daemon.application import create_app
    from assistant.dialog import Assistant

    with listener, Assistant.open(settings) as assistant:
        daemon = create_app(assistant, settings)
        mount_page(daemon, assistant, settings)
        address = server.page_address(settings, listener.getsockname()[1])
        typer.echo(f"담소가 {address} 에서 기다리고 있어요. 끝내려면 Ctrl+C를 누르세요.")
        if open_page:
            server.open_browser(settings, address)
        server.serve(daemon, listener)


app.command()(train.export)
app.command()(compress)
app.command()(vision.upscale)


@contextmanager
def _assistant(settings: Settings | None = None, folder: Path | None = None) -> Iterator[Assistant]:
    from assistant.dialog import Assistant

    with Assistant.open(settings or Settings.load(), folder) as assistant:
        yield assistant


@contextmanager
def _assistant_over(files: Sequence[Path]) -> Iterator[Assistant]:
    """The assistant over the given files alone, or else over the store, or else over the samples."""
    settings = Settings.load()
    if not files and _has_documents(settings):
        with _assistant(settings) as assistant:
            yield assistant
        return
    # Nothing of this question stays in the person's own store; what is written into the schedule does.
    with (
        tempfile.TemporaryDirectory(prefix="damso-") as folder,
        _assistant(settings, Path(folder)) as assistant,
    ):
        for result in assistant.index.ingest(files or [SAMPLES]):
            if result.error is not None:
                raise result.error
        yield assistant


def _has_documents(settings: Settings) -> bool:
    from retrieval.store import Store

    path = settings.home / "documents.db"
    if not path.exists():
        return False
    store = Store(path)
    try:
        return bool(store.documents())
    finally:
        store.close()


def _typed_messages() -> Iterator[str]:
    """Lines of the person until the end of input; Ctrl+C at the prompt drops the line."""
    while True:
        try:
            line = input("\n나> ").strip()
        except KeyboardInterrupt:
            typer.echo("\n끝내려면 /quit을 적거나 Ctrl+D를 누르세요.")
            continue
        except EOFError:
            typer.echo()
            return
        if line:
            yield line


def _obey(assistant: Assistant, command: str) -> bool:
    """Run a command of the chat; false ends it."""
    if command in ("/quit", "/exit"):
        return False
    if command == "/docs":
        names = [item.name for item in assistant.index.documents()]
        typer.echo("\n".join(names) or "아직 넣은 문서가 없어요.")
    else:
        typer.echo(_CHAT_HELP)
    return True


def _reply(assistant: Assistant, message: str, conversation: str | None) -> str | None:
    """Write one answer as it comes and return its conversation."""
    streamed = ""
    typer.echo("담소> ", nl=False)
    try:
        with _interruptible() as stopped:
            for event in assistant.stream(message, conversation, cancelled=stopped.is_set):
                if isinstance(event, Token | ToolResult):
                    streamed += event.text
                    typer.echo(event.text, nl=False)
                elif isinstance(event, Done):
                    _finish(event, streamed)
                    conversation = event.conversation or None
    except DamsoError as error:
        typer.echo(f"\n오류: {error}", err=True)
    return conversation


def _finish(done: Done, streamed: str) -> None:
    """Add what the stream left out, or the whole answer when it became another; then the sources."""
    if done.answer.startswith(streamed):
        typer.echo(done.answer[len(streamed) :])
    else:
        typer.echo(f"\n담소> {done.answer}")
    _echo_sources(done.sources)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl+C sets the event instead of ending the program."""
    stopped = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopped.set()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _enable_line_editing() -> None:
    """Arrow keys and whole-syllable deletion at the prompt, where the platform has readline."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return


def _echo_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


def _echo_answer(done: Done) -> None:
    typer.echo(done.answer)
    if done.tool is not None:
        typer.echo("\n".join(done.tool.files))
    _echo_sources(done.sources)


def _echo_sources(sources: Sequence[Source]) -> None:
    for number, source in enumerate(sources, 1):
        place = " › ".join([source.document, *(part for part in source.section.split(" > ") if part)])
        page = f" {source.page}쪽" if source.page is not None else ""
        typer.echo(f"  [{number}] {place}{page}: {' '.join(source.text.split())}")


def _echo_result(result: IngestResult) -> None:
    reason = f"  ({result.error})" if result.error else ""
    typer.echo(f"{_STATUSES[result.status]}  {result.path}{reason}")


if __name__ == "__main__":
    main()
