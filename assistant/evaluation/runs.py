"""Runs a system over the dialogues of a set: turn by turn, in several processes, and on from where it stopped.

Every question is asked with the history as the set has it: earlier user and agent turns as written, an agent's turn
with its gold spans as the sources it cited. So a mistake in one turn does not spoil the next, and all systems see
the same conversation.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from tqdm import tqdm

from assistant.errors import DamsoError, SettingsError
from assistant.evaluation.gold import Gold, ingest
from assistant.evaluation.kodoc2dial import Dialogue, Doc2Dial
from assistant.evaluation.systems import SYSTEMS, Reply, open_system
from assistant.history import Message
from assistant.settings import Settings
from compression.artefacts import models_folder
from retrieval.morphology import forget


@dataclass(frozen=True)
class Outcome:
    """How one question went: what was said and what the measures need.

    Attributes:
        turn: id of the user's turn.
        question: the user's turn.
        gold: the agent's turn as the set has it.
        act: the agent's dialogue act.
        answerable: whether the agent's turn rests on a document.
        gold_spans: texts of the gold spans.
        answer, abstained, confidence: as the system replied; confidence None without a gate.
        cited: texts the answer rests on.
        passage_rank, document_rank: rank from 1 of the first passage that overlaps a gold span, or that is of a gold
            document; None when there is none, or nothing is gold.
        cited_characters, gold_characters, common_characters: of cited spans, gold spans and both, white space aside.
        best_is_right: whether the likeliest sentence overlaps a gold span, also when the system abstained.
        first_token_ms, total_ms: milliseconds from the question.
    """

    turn: str
    question: str
    gold: str
    act: str
    answerable: bool
    gold_spans: list[str]
    answer: str
    abstained: bool
    confidence: float | None
    cited: list[str]
    passage_rank: int | None
    document_rank: int | None
    cited_characters: int
    gold_characters: int
    common_characters: int
    best_is_right: bool
    first_token_ms: float
    total_ms: float


@dataclass(frozen=True)
class Finished:
    """A dialogue with the outcomes of its questions."""

    dialogue: str
    domain: str
    outcomes: tuple[Outcome, ...]

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Finished:
        """What `to_line` wrote; raises ``ValueError``, ``KeyError`` or ``TypeError`` for anything else."""
        values = json.loads(line)
        outcomes = tuple(Outcome(**outcome) for outcome in values["outcomes"])
        return cls(values["dialogue"], values["domain"], outcomes)


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes:
        workers: processes; each opens the system for itself.
        ray: runs the workers on Ray instead; on a cluster all machines must see the output folder.
        limit: dialogues at most, taken from the domains in turn; None runs all.
        given_document: searches only the dialogue's own document, as in Doc2Dial's first task.
    """

    workers: int = 1
    ray: bool = False
    limit: int | None = None
    given_document: bool = False


@dataclass(frozen=True)
class Task:
    """What a worker needs."""

    settings: Settings
    system: str
    gold: Gold
    given_document: bool


class Worker:
    """Opens a system once and takes it through dialogues."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._system = open_system(task.system, task.settings)

    def finish(self, dialogue: Dialogue) -> Finished:
        """Asks every question of a dialogue."""
        gold, scope = self._task.gold, None
        if self._task.given_document and dialogue.document is not None:
            scope = (gold.documents[dialogue.document],)
        outcomes = []
        for position in dialogue.asked():
            message = dialogue.turns[position].utterance
            reply = self._system.answer(message, history(dialogue, position, gold), scope)
            outcomes.append(judged(dialogue, position, reply, gold))
        return Finished(dialogue.id, dialogue.domain, tuple(outcomes))

    def close(self) -> None:
        """Closes the system."""
        self._system.close()


def history(dialogue: Dialogue, position: int, gold: Gold) -> list[Message]:
    """The turns before one as messages; an agent's gold spans are the sources of its message."""
    messages = []
    for turn in dialogue.turns[:position]:
        places = [gold.spans[key] for key in turn.references if key in gold.spans]
        sources = [{"document_id": place.document, "start": place.start} for place in places]
        is_user = turn.role == "user"
        outcome = {"sources": sources} if sources and not is_user else None
        messages.append(Message("user" if is_user else "assistant", turn.utterance, outcome, 0.0))
    return messages


def judged(dialogue: Dialogue, position: int, reply: Reply, gold: Gold) -> Outcome:
    """Lays a reply beside the agent's next turn."""
    asked, wanted = dialogue.turns[position], dialogue.turns[position + 1]
    spans = [gold.spans[key] for key in wanted.references if key in gold.spans]
    reach = [gold.reach[key] for key in wanted.references if key in gold.reach]
    documents = {gold.documents[document] for document, _ in wanted.references}
    cited = gold.characters(item.place for item in reply.cited)
    right = gold.characters(spans)
    return Outcome(
        asked.id, asked.utterance, wanted.utterance, wanted.act, bool(wanted.references),
        [gold.texts[span.document][span.start : span.end] for span in spans],
        reply.answer, reply.abstained, reply.confidence, [item.text for item in reply.cited],
        _first(any(place.overlaps(span) for span in reach) for place in reply.ranked),
        _first(place.document in documents for place in reply.ranked),
        len(cited), len(right), len(cited & right),
        reply.best is not None and any(reply.best.overlaps(span) for span in spans),
        round(reply.first_token_ms, 2), round(reply.total_ms, 2),
    )  # fmt: skip


def _first(relevant: Iterator[bool]) -> int | None:
    return next((rank for rank, hit in enumerate(relevant, 1) if hit), None)


def prepare(dataset: Doc2Dial, settings: Settings, folder: Path) -> Gold:
    """Indexes a set's documents in ``folder`` and makes sure that what lies there came from the same set and models.

    Raises:
        SettingsError: the folder holds results of another set, other models or another threshold.
        StoreError: the folder cannot be written.
    """
    from agents.encoder import Encoder
    from retrieval.index import Index

    threshold = "" if settings.answer_threshold is None else str(settings.answer_threshold)
    made_from = {"set": _digest(repr(dataset).encode()), "models": _models(), "threshold": threshold}
    claim(folder / "run.json", made_from)
    with (
        Index.open(folder / "home", Encoder.load()) as index,
        tqdm(total=len(dataset.documents), unit="문서", leave=False) as bar,
    ):
        return ingest(dataset, index, bar.update)


def claim(path: Path, values: dict[str, str]) -> None:
    """Notes what a folder's results come from; the folder is made when missing.

    Raises:
        SettingsError: the folder's results come from something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_text(encoding="utf-8") != json.dumps(values):
        raise SettingsError(
            f"{path.parent}에 다른 자료, 모델, 문턱으로 만든 결과가 있어요.",
            "--out으로 다른 폴더를 고르거나 그 폴더를 지워 주세요.",
        )
    path.write_text(json.dumps(values), encoding="utf-8")


def run(
    dataset: Doc2Dial, gold: Gold, system: str, settings: Settings, folder: Path, options: Options
) -> list[Finished]:
    """Takes a system through the dialogues; what an earlier run finished is not run again.

    Args:
        dataset: the set.
        gold: from `prepare`.
        system: a name of `SYSTEMS`.
        settings: of the assistant; its home is replaced.
        folder: of `prepare`; gains ``<system>.jsonl``, one finished dialogue a line.
        options: see there.

    Returns:
        Finished dialogues in the set's order.

    Raises:
        SettingsError: Ray is asked for and not installed.
        DamsoError: a worker died.
    """
    name = f"{system}-given" if options.given_document else system
    path, chosen = folder / f"{name}.jsonl", _chosen(dataset.dialogues, options.limit)
    finished = _resumed(path)
    waiting = [dialogue for dialogue in chosen if dialogue.id not in finished]
    threads = (
        max(1, (settings.threads or os.cpu_count() or 1) // options.workers)
        if options.workers > 1
        else settings.threads
    )
    home = replace(settings, home=(folder / "home").absolute(), threads=threads)
    task = Task(home, system, gold, options.given_document)
    forget()  # what one system analysed must not make the next one faster
    work = _on_ray if options.ray else (_in_processes if options.workers > 1 else _here)
    with (
        path.open("a", encoding="utf-8") as file,
        tqdm(total=len(chosen), initial=len(chosen) - len(waiting), unit="대화", desc=SYSTEMS[system]) as bar,
    ):
        for result in work(task, waiting, options.workers) if waiting else ():
            file.write(result.to_line())
            file.flush()
            finished[result.dialogue] = result
            bar.update()
    return [finished[dialogue.id] for dialogue in chosen]


def _chosen(dialogues: Sequence[Dialogue], limit: int | None) -> list[Dialogue]:
    """The first dialogues of every domain in turn, in the set's order."""
    places = {dialogue.domain: count() for dialogue in dialogues}
    order = sorted(range(len(dialogues)), key=[next(places[d.domain]) for d in dialogues].__getitem__)
    return [dialogues[i] for i in sorted(order[:limit])]


def _resumed(path: Path) -> dict[str, Finished]:
    """Finished dialogues of an earlier run; a last line cut short by a crash is taken out of the file."""
    if not path.exists():
        return {}
    finished: dict[str, Finished] = {}
    whole = 0
    with path.open("rb") as file:
        for line in file:
            try:
                result = Finished.from_line(line.decode())
            except (ValueError, KeyError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            finished[result.dialogue] = result
            whole += len(line)
    with path.open("r+b") as file:
        file.truncate(whole)
    return finished


def _here(task: Task, dialogues: Sequence[Dialogue], workers: int) -> Iterator[Finished]:
    worker = Worker(task)
    try:
        yield from map(worker.finish, dialogues)
    finally:
        worker.close()


_worker: Worker | None = None


def _open_worker(task: Task) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to answer
    _worker = Worker(task)


def _finish(dialogue: Dialogue) -> Finished:
    assert _worker is not None
    return _worker.finish(dialogue)


def _in_processes(task: Task, dialogues: Sequence[Dialogue], workers: int) -> Iterator[Finished]:
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    # Spawned, not forked: a runtime's threads do not survive a fork.
    with ProcessPoolExecutor(
        min(workers, len(dialogues)), get_context("spawn"), initializer=_open_worker, initargs=(task,)
    ) as pool:
        try:
            for future in as_completed([pool.submit(_finish, dialogue) for dialogue in dialogues]):
                yield future.result()
        except BrokenProcessPool as error:
            raise DamsoError(
                "평가하던 프로세스가 갑자기 끝났어요.",
                "--workers를 줄여 다시 실행하면 멈춘 데서 이어서 해요.",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _on_ray(task: Task, dialogues: Sequence[Dialogue], workers: int) -> Iterator[Finished]:
    try:
        import ray
        from ray.util import ActorPool
    except ModuleNotFoundError as error:
        raise SettingsError(
            "Ray가 설치되어 있지 않아요.",
            "pip install 'damso[ray]'로 설치하거나, --ray 없이 --workers로 실행해 주세요.",
        ) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine unasked
    ray.init(ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
    actor: Any = ray.remote(Worker)
    pool = ActorPool([actor.remote(task) for _ in range(min(workers, len(dialogues)))])
    yield from pool.map_unordered(lambda worker, dialogue: worker.finish.remote(dialogue), dialogues)


def _models() -> str:
    manifest = models_folder() / "manifest.json"
    return _digest(manifest.read_bytes()) if manifest.exists() else ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
