"""The paper's comparison: the model as it is and compressed, tuned in several ways, at 8 and 4 bits.

Every figure is taken from the exported model on the engine that serves it, so that quantisation is in it. Whatever
is finished is a file in the output folder, and a run that was killed goes on from there.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from assistant.comparison_report import write_report
from assistant.engine.engine import Engine, GenerationOptions
from assistant.engine.sampler import Floats
from assistant.evaluation.metrics import f1, faithfulness, rouge_l, sacre_bleu
from compression.errors import ModelError
from compression.language.compress import Method, compress
from compression.language.corpus import articles, is_prose
from compression.language.export import export
from compression.language.grounded import Turn, answer_text, natural_turns
from compression.language.grounded_scores import held_out_turns, labelled_prompt, mean_scores
from compression.language.prompt import prompt_text
from compression.language.recovery import Recovery, Tuning, tune_checkpoint
from compression.language.source import open_tokenizer
from compression.language.tensors import full_disk_explained
from compression.language.weights import Checkpoint

RECIPES = ("svd", "svd+full", "svd+lora", "whitened", "whitened+full", "whitened+lora")
"""Method of compression, and what is tuned after it."""

_ROW = 256
_SHOWN = 20
_SPEED_RUNS, _SPEED_PROMPT, _SPEED_TOKENS = 5, 128, 64


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        keeps: shares of the linear layers' parameters.
        recipes: of `RECIPES`; the original is always there, as it is and tuned as the recipes are.
        bits: of the exported models.
        steps: of every tuning.
        turns: held-out questions to answer.
        compile_model: tune with torch.compile.
    """

    keeps: tuple[float, ...] = (0.8, 0.6, 0.5, 0.4)
    recipes: tuple[str, ...] = RECIPES
    bits: tuple[int, ...] = (8, 4)
    steps: int = 600
    turns: int = 200
    compile_model: bool = True

    def models(self) -> Iterator[tuple[float, str]]:
        """(keep, recipe) of every model, the original first."""
        tunings = {recipe.partition("+")[2] for recipe in self.recipes} - {""}
        yield from ((1.0, "+".join(filter(None, ("original", tuning)))) for tuning in ("", *sorted(tunings)))
        yield from itertools.product(self.keeps, self.recipes)


@dataclass(frozen=True)
class Held:
    """What models are measured on.

    Attributes:
        texts: running text.
        turns: grounded questions.
    """

    texts: list[str]
    turns: list[Turn]


def compare(source: Path, data: Path, out: Path, plan: Plan) -> list[dict[str, Any]]:
    """Make, tune, export and measure every model of a plan.

    Args:
        source: dense checkpoint.
        data: folder of training data.
        out: folder for checkpoints, figures, ``comparison.json``, ``comparison.md`` and ``comparison.png``.
        plan: what is compared.

    Returns:
        A row a model and bit width: ``name``, ``keep``, ``recipe``, ``bits``, ``bytes``, ``perplexity``,
        ``grounded_f1``, ``rouge_l``, ``sacrebleu``, ``faithfulness``, ``decode_tokens_per_s``.

    Raises:
        ModelError: the source cannot be used, the folder holds another model's figures, or the disk is full.
        TrainingDataError: the data folder lacks a file.
    """
    with full_disk_explained():
        out.mkdir(parents=True, exist_ok=True)
        _claim(out, source)
    jobs = [(keep, recipe, bits) for keep, recipe in plan.models() for bits in plan.bits]
    held: Held | None = None
    rows = []
    for keep, recipe, bits in tqdm(jobs, unit="모델", desc="비교"):
        file = out / "measured" / f"{_name(keep, recipe, plan)}-{bits}bit-{plan.turns}.json"
        if not file.is_file():
            checkpoint = _checkpoint(source, data, out, plan, keep, recipe)
            held = held or _held_out(data, plan.turns)
            measured = {"keep": keep, "recipe": recipe, "bits": bits, **measure(checkpoint, out, bits, held)}
            _write(file, measured)
        rows.append(json.loads(file.read_text(encoding="utf-8")))
    write_report(out, rows, {"source": source.name, **asdict(plan)})
    return [{key: value for key, value in row.items() if key != "answers"} for row in rows]


def _claim(out: Path, source: Path) -> None:
    """Keeps figures of two models apart: they stand under the same names.

    Raises:
        ModelError: the folder belongs to another model.
    """
    checkpoint = Checkpoint(source)
    files = [(file.name, file.stat().st_size) for file in checkpoint.files]
    about = json.dumps({"config": checkpoint.config, "files": files}, sort_keys=True)
    file = out / "source.json"
    if not file.is_file():
        _write_text(file, about)
    elif file.read_text(encoding="utf-8") != about:
        raise ModelError("이 폴더에는 다른 모델의 결과가 있어요.", "--out으로 다른 폴더를 알려 주세요.")


def measure(checkpoint: Path, out: Path, bits: int, held: Held) -> dict[str, Any]:
    """Export a checkpoint and measure it on the engine."""
    folder = out / "exported"
    try:
        export(checkpoint, folder, bits)
        size = sum(file.stat().st_size for file in folder.glob("model.onnx*"))
        engine = Engine.load(folder)
        answers = [_answer(engine, turn) for turn in held.turns]
        golds = [turn.answer for turn in held.turns]
        cited = [[turn.evidence[turn.answer_index or 0].text] for turn in held.turns]
        return {
            "bytes": size,
            "bytes_per_token": engine.config.bytes_per_token,
            "perplexity": perplexity(engine, held.texts),
            **mean_scores(answers, golds, {"grounded_f1": f1, "rouge_l": rouge_l}),
            "sacrebleu": sacre_bleu(answers, golds),
            "faithfulness": float(np.mean([*map(faithfulness, answers, cited)])),
            "decode_tokens_per_s": decode_speed(engine),
            "answers": [
                {"question": turn.question, "gold": turn.answer, "answer": answer}
                for turn, answer in zip(held.turns[:_SHOWN], answers, strict=False)
            ],
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def perplexity(engine: Engine, texts: Sequence[str]) -> float:
    """Of the texts' tokens, each given at most the 255 before it."""
    nats, tokens = 0.0, 0
    for text in texts:
        ids = engine.tokenize(text)
        for start in range(0, len(ids) - 1, _ROW):
            row = ids[start : start + _ROW + 1]
            if len(row) > 1:
                nats -= engine.score(row[:1], row[1:]) * (len(row) - 1)
                tokens += len(row) - 1
    return math.exp(nats / max(tokens, 1))


def decode_speed(engine: Engine) -> float:
    """Tokens a second after the first, median over runs with fresh prompts."""
    ends = list(engine.config.eos_token_ids)

    def never_end(_: list[int], logits: Floats) -> None:
        logits[ends] = -np.inf

    speeds = []
    low = len(engine.special_tokens)
    for run in range(_SPEED_RUNS + 1):
        prompt = np.random.default_rng(run).integers(
            low, min(low + 300, engine.config.vocab_size), _SPEED_PROMPT
        )
        options = GenerationOptions(max_tokens=_SPEED_TOKENS)
        generation = engine.stream(prompt.tolist(), options, constrain=never_end)
        for _ in generation:
            pass
        speeds.append(generation.usage.tokens_per_second)
    return median(speeds[1:])  # the first run warms up


def _answer(engine: Engine, turn: Turn) -> str:
    room = 8 + len(engine.tokenize(turn.answer))
    with engine.stream(labelled_prompt(turn), GenerationOptions(max_tokens=room)) as generation:
        return "".join(piece.text for piece in generation).strip()


def _name(keep: float, recipe: str, plan: Plan) -> str:
    """A model's folder; tuned ones bear the length of their tuning."""
    return f"{keep:g}-{recipe}" + (f"-{plan.steps}" if "+" in recipe else "")


def _checkpoint(source: Path, data: Path, out: Path, plan: Plan, keep: float, recipe: str) -> Path:
    """The model's checkpoint, made now if it is not there."""
    made, tuning = _compressed(source, data, out, keep, recipe.partition("+")[0]), recipe.partition("+")[2]
    if not tuning:
        return made
    folder = out / "checkpoints" / _name(keep, recipe, plan)
    if not (folder / "tokenizer.json").is_file():  # written last
        rate = 1e-4 if tuning == "full" else 5e-4
        recovery = Recovery(Tuning(tuning), plan.steps, rate)
        tune_checkpoint(made, data, folder, recovery, plan.compile_model)
    return folder


def _compressed(source: Path, data: Path, out: Path, keep: float, method: str) -> Path:
    if method == "original":
        return source
    folder = out / "checkpoints" / f"{keep:g}-{method}"
    if not (folder / "compression.png").is_file():  # written last
        calibration = _calibration(source, data, out) if method == "whitened" else None
        state = out / f"decomposed-{method}"
        compress(source, folder, keep, Method(method), calibration, state=state)
    return folder


def _calibration(source: Path, data: Path, out: Path) -> Path:
    """Text of both kinds that the model is for: encyclopedic paragraphs and grounded turns, of the training side."""
    file = out / "calibration.txt"
    if not file.is_file():
        rng = random.Random(0)
        prose = (article.text[:800] for article in articles(data, 1) if is_prose(article.text[:1500]))
        turns = [turn for turn in natural_turns(data, (), rng) if turn.answer_index is not None]
        rng.shuffle(turns)
        tokenizer = open_tokenizer(source)
        _write_text(file, _mixed(prose, turns, tokenizer))
    return file


def _mixed(prose: Iterator[str], turns: Sequence[Turn], tokenizer: Tokenizer, most: int = 40_000) -> str:
    """One text a line, kinds in turn, of at least ``most`` tokens together if there is as much."""
    lines: list[str] = []
    tokens = 0
    for text, turn in zip(prose, turns, strict=False):
        grounded = prompt_text(turn.question, turn.evidence, turn.history) + answer_text(turn)
        pair = [" ".join(part.split()) for part in (text, grounded)]
        tokens += sum(len(tokenizer.encode(part).ids) for part in pair)
        lines += pair
        if tokens > most:
            break
    return "\n".join(lines) + "\n"


def _held_out(data: Path, turns: int) -> Held:
    prose = (a.text[:1200] for a in articles(data, 0, held_out=True) if is_prose(a.text[:1500]))
    return Held(list(itertools.islice(prose, 20)), held_out_turns(data, turns))


def _write(file: Path, figures: dict[str, Any]) -> None:
    with full_disk_explained():
        file.parent.mkdir(exist_ok=True)
        _write_text(file, json.dumps(figures, ensure_ascii=False, indent=1) + "\n")


def _write_text(file: Path, text: str) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
