"""``damso train iot``: the autoencoder, pruned and quantised, beside PCA and isolation forest on public traffic.

Every detector learns from normal records alone and has its threshold fitted on normal records that did not train it.
"""

from __future__ import annotations

import csv
import lzma
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compression.errors import TrainingDataError
from compression.iot.export import stored
from compression.iot.features import Doubles, Floats, Scaler, Schema, encode
from compression.iot.infer import Detector
from compression.iot.learn import Parts, profile_of, split
from compression.iot.profiles import EXAMPLE, Profile, write
from compression.iot.tables import Columns, read_table
from compression.iot.threshold import Vote, fit_threshold, voted
from compression.iot.train import Progress, Recipe, prune_units, prune_weights, train, tune_for_int8

SEEDS = (0, 1, 2)
TABLE_FILE = "BENCHMARK.md"
_COLUMNS = {
    "detector": "detector", "auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "recall": "recall", "fpr": "FPR, test",
    "fpr_held_out": "FPR, held-out normal", "fpr_vote": "FPR after vote, held-out", "bytes": "bytes",
    "single_ms": "ms a record", "records_per_second": "records/s",
}  # fmt: skip
_IOT23_CATEGORIES = ("proto", "service", "conn_state")
_IOT23_LABELS = ("label", "detailed-label")
_NSL_CATEGORIES = {1: "protocol_type", 2: "service", 3: "flag"}
_NSL_FEATURES = 41
_SINGLE, _BATCH = 500, 65_536  # records timed one by one, and at once

Scorer = Callable[[Floats], Doubles]


@dataclass(frozen=True)
class Benchmark:
    """One collection, cut as its protocol says.

    Attributes:
        name: of the collection.
        schema: of its records.
        normal: normal records of the device, by what they are for; ``check`` is held-out normal.
        test: float32 [records, features], in the order of time where there is one.
        attack: bool [records].
    """

    name: str
    schema: Schema
    normal: Parts
    test: Floats
    attack: NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One detector on one collection with one seed.

    Attributes:
        collection: of the benchmark.
        detector: ``float``; ``pruned``, 80 % of its weights zero; ``pruned int8``; ``units``, whole units taken away;
            ``int8``, the same tuned and quantised, which is what a profile holds; ``PCA``; ``forest``.
        seed: of its training.
        auroc: area under the ROC curve.
        auprc: average precision.
        f1: at the threshold.
        recall: share of the attack records above the threshold.
        fpr: share of the test's normal records above the threshold.
        fpr_held_out: the same of held-out normal records of the same device.
        fpr_vote: share of held-out normal records at which the vote makes an alarm.
        bytes: of the network as it is stored, deflated; 0 for the baselines.
        single_ms: median milliseconds for one record.
        records_per_second: in a batch.
    """

    collection: str
    detector: str
    seed: int
    auroc: float
    auprc: float
    f1: float
    recall: float
    fpr: float
    fpr_held_out: float
    fpr_vote: float
    bytes: int
    single_ms: float
    records_per_second: float


def benchmarks(data: Path) -> list[Benchmark]:
    """All collections of the data folder.

    Raises:
        TrainingDataError: a file is missing or malformed.
    """
    return [jiis23(data), iot23(data), nsl_kdd(data)]


def jiis23(data: Path) -> Benchmark:
    """Five-second windows with covert channels in the TTL: clean days 23–25 train, day 26 fits the threshold."""
    days = [_read(data, f"jiis23_clean_{day}.csv.xz") for day in (23, 24, 25, 26)]
    tests = [_read(data, f"jiis23_case1_{day}.csv.xz") for day in (27, 28, 29)]
    schema = Schema(tuple(name for name in days[0] if name not in ("timestamp", "attack")))
    clean = [encode(day, schema).values for day in days]
    learnt = split(np.concatenate(clean[:3]))
    training = np.concatenate([learnt.training, learnt.threshold, learnt.check])
    # Of day 26 every other hour fits the threshold and the rest is held out.
    hour = np.arange(len(clean[3])) * 24 // len(clean[3])
    parts = Parts(training, learnt.validation, clean[3][hour % 2 == 0], clean[3][hour % 2 == 1])
    attack = np.concatenate([np.array(day["attack"]) == "Yes" for day in tests])
    return Benchmark(
        "JIIS23", schema, parts, np.concatenate([encode(day, schema).values for day in tests]), attack
    )


def iot23(data: Path) -> Benchmark:
    """Zeek connections, deduplicated: honeypots and benign rows are normal, labels 1–9 are attacks."""
    benign = [_read(data, f"iot23_{name}.csv.xz") for name in (
        "honey4optimized", "honey5optimized", "honey7optimized", "label_0",
    )]  # fmt: skip
    attacks = [_read(data, f"iot23_label_{label}.csv.xz") for label in range(1, 10)]
    tables = [*benign, *attacks]
    for table in tables:
        for name in _IOT23_CATEGORIES:
            table[name] = [_plain_number(str(cell)) for cell in table[name]]
    columns = [name for name in tables[0] if name not in (*_IOT23_CATEGORIES, *_IOT23_LABELS)]
    seen = {name: {cell for table in benign for cell in table[name]} for name in _IOT23_CATEGORIES}
    schema = Schema(tuple(columns), {name: tuple(sorted(map(str, values))) for name, values in seen.items()})
    normal = np.concatenate([encode(table, schema, skip_bad=True).values for table in benign])
    hostile = np.concatenate([encode(table, schema, skip_bad=True).values for table in attacks])
    return _held_out_benchmark("IoT-23", schema, np.unique(normal, axis=0), np.unique(hostile, axis=0))


def nsl_kdd(data: Path) -> Benchmark:
    """The fifth of KDDTrain+ that is at hand: its 13,449 normal connections are split, its attacks all test."""
    path = data / "nslkdd_train20.csv.xz"
    try:
        with lzma.open(path, "rt", encoding="ascii", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, EOFError, UnicodeError, lzma.LZMAError) as error:
        raise _missing(path.name) from error
    names = [_NSL_CATEGORIES.get(number, f"feature_{number}") for number in range(_NSL_FEATURES)]
    normal = _columns(names, [row for row in rows if row[_NSL_FEATURES] == "normal"])
    hostile = _columns(names, [row for row in rows if row[_NSL_FEATURES] != "normal"])
    categories = {
        name: tuple(sorted({str(cell) for cell in normal[name]})) for name in _NSL_CATEGORIES.values()
    }
    schema = Schema(tuple(name for name in names if name not in categories), categories)
    return _held_out_benchmark(
        "NSL-KDD", schema, encode(normal, schema).values, encode(hostile, schema).values
    )


def evaluate(
    benchmark: Benchmark, recipe: Recipe, progress: Progress = lambda: None
) -> tuple[list[Row], Profile]:
    """Train every detector with one seed and measure it.

    Returns:
        A row a detector, and the int8 profile.
    """
    parts, scaler = benchmark.normal, Scaler.fit(benchmark.normal.training)
    training, validation = scaler(parts.training), scaler(parts.validation)
    network = train(training, validation, recipe, progress)
    pruned = prune_weights(network, training, validation, recipe, progress)
    units = prune_units(network, training, validation, recipe, progress)
    rows = []
    tuned = tune_for_int8(units, network, training, validation, recipe, progress)
    variants = {
        "float": (network, 32), "pruned": (pruned, 32), "pruned int8": (pruned, 8),
        "units": (units, 32), "int8": (tuned, 8),
    }  # fmt: skip
    for name, (variant, bits) in variants.items():
        profile = profile_of(benchmark.name, variant, bits, scaler, parts, benchmark.schema)
        rows.append(_measure(benchmark, name, recipe.seed, Detector(profile).scores, profile))
    for name, scorer in _baselines(training, scaler, recipe.seed).items():
        rows.append(_measure(benchmark, name, recipe.seed, scorer, None))
    return rows, profile


def run(
    data: Path, out: Path, recipe: Recipe | None = None, seeds: Sequence[int] = SEEDS
) -> list[dict[str, Any]]:
    """Everything: train and measure on every collection, write the tables and the example profile.

    Args:
        data: folder of the collections.
        out: gets ``BENCHMARK.md`` and the int8 profile of JIIS23 and the first seed.
        recipe: how to train.
        seeds: one training each.

    Returns:
        Means over the seeds, as `summary` gives them.

    Raises:
        TrainingDataError: a file is missing or malformed.
    """
    from tqdm import tqdm

    collections = benchmarks(data)
    rows: list[Row] = []
    with tqdm(total=len(collections) * len(seeds), unit="회", leave=False) as bar:
        for benchmark in collections:
            for seed in seeds:
                measured, profile = evaluate(benchmark, replace(recipe or Recipe(), seed=seed))
                rows += measured
                bar.update()
                if benchmark.name == EXAMPLE and seed == seeds[0]:
                    example = profile
    figures = summary(rows)
    # Only complete results replace the embedded ones.
    write(
        replace(example, figures={"benchmark": [row for row in figures if row["collection"] == EXAMPLE]}), out
    )
    (out / TABLE_FILE).write_text(tables(figures), encoding="utf-8")
    return figures


def tables(figures: Sequence[Mapping[str, Any]]) -> str:
    """The means as Markdown, a table a collection."""
    lines = ["# Benchmark", "", "Written by `damso train iot --data DIR`; means over the seeds."]
    for collection in dict.fromkeys(row["collection"] for row in figures):
        lines += [
            "",
            f"## {collection}",
            "",
            "| " + " | ".join(_COLUMNS.values()) + " |",
            "|---" * len(_COLUMNS) + "|",
        ]
        for row in figures:
            if row["collection"] == collection:
                lines.append("| " + " | ".join(_cell(name, row) for name in _COLUMNS) + " |")
    return "\n".join(lines) + "\n"


def _cell(name: str, row: Mapping[str, Any]) -> str:
    if name == "auroc":
        return f"{row['auroc']:.4f} ± {row['auroc_std']:.4f}"
    if name in ("fpr", "fpr_held_out", "fpr_vote", "recall"):
        return f"{row[name]:.2%}"
    return f"{row[name]:,.0f}" if name in ("bytes", "records_per_second") else str(row[name])


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Means over the seeds, one entry a collection and detector, with the spread of the AUROC."""
    keys = dict.fromkeys((row.collection, row.detector) for row in rows)
    return [_mean([row for row in rows if (row.collection, row.detector) == key]) for key in keys]


def _mean(rows: Sequence[Row]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "collection": rows[0].collection,
        "detector": rows[0].detector,
        "seeds": len(rows),
    }
    for name in ("auroc", "auprc", "f1", "recall", "fpr", "fpr_held_out", "fpr_vote", "bytes", "single_ms"):
        figures[name] = round(float(np.mean([getattr(row, name) for row in rows])), 4)
    figures["auroc_std"] = round(float(np.std([row.auroc for row in rows])), 4)
    figures["records_per_second"] = round(float(np.median([row.records_per_second for row in rows])))
    return figures


def _measure(benchmark: Benchmark, name: str, seed: int, scorer: Scorer, profile: Profile | None) -> Row:
    from sklearn.metrics import average_precision_score, roc_auc_score

    parts, attack = benchmark.normal, benchmark.attack
    threshold = fit_threshold(scorer(parts.threshold)) if profile is None else profile.threshold
    scores = scorer(benchmark.test)
    above = scores > threshold
    hits = int((above & attack).sum())
    single_ms, per_second = _speed(scorer, benchmark.test)
    held_out = scorer(parts.check) > threshold
    vote = profile.vote if profile else Vote()
    size = 0 if profile is None else len(stored(profile.model))
    return Row(
        benchmark.name, name, seed,
        auroc=float(roc_auc_score(attack, scores)), auprc=float(average_precision_score(attack, scores)),
        f1=2 * hits / max(1, int(above.sum() + attack.sum())), recall=hits / int(attack.sum()),
        fpr=float(above[~attack].mean()), fpr_held_out=float(held_out.mean()),
        fpr_vote=float(voted(held_out, vote).mean()), bytes=size,
        single_ms=single_ms, records_per_second=per_second,
    )  # fmt: skip


def _baselines(training: Floats, scaler: Scaler, seed: int) -> Mapping[str, Scorer]:
    """Reconstruction error by the principal components with 95 % of the variance, and an isolation forest."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import IsolationForest

    components = PCA(0.95, svd_solver="full").fit(training)
    forest = IsolationForest(random_state=seed).fit(training)

    def by_components(values: Floats) -> Doubles:
        scaled = scaler(values)
        rebuilt = components.inverse_transform(components.transform(scaled))
        return np.asarray(np.square(rebuilt - scaled).mean(axis=1), np.float64)

    def by_forest(values: Floats) -> Doubles:
        return -np.asarray(forest.score_samples(scaler(values)), np.float64)

    return {"PCA": by_components, "forest": by_forest}


def _speed(scorer: Scorer, values: Floats) -> tuple[float, float]:
    """Median milliseconds for one record, and records a second in the best of three batches."""
    singles = []
    for row in values[:_SINGLE]:
        start = time.perf_counter()
        scorer(row[None])
        singles.append(time.perf_counter() - start)
        if sum(singles) > 2:
            break
    batch = np.resize(values, (_BATCH, values.shape[1]))
    batches = []
    for _ in range(3):
        start = time.perf_counter()
        scorer(batch)
        batches.append(time.perf_counter() - start)
    return float(np.median(singles)) * 1000, len(batch) / min(batches)


def _held_out_benchmark(name: str, schema: Schema, normal: Floats, hostile: Floats) -> Benchmark:
    """Normal rows in random order (they have no time): half train, a tenth validates, and two fifths test."""
    normal = np.random.default_rng(0).permutation(normal)
    ends = [len(normal) * share // 100 for share in (50, 60, 75)]
    training, validation, threshold, check = np.split(normal, ends)
    attack = np.arange(len(check) + len(hostile)) >= len(check)
    parts = Parts(training, validation, threshold, check)
    return Benchmark(name, schema, parts, np.concatenate([check, hostile]), attack)


def _read(data: Path, name: str) -> Columns:
    if not (data / name).is_file():
        raise _missing(name)
    return read_table(data / name)


def _missing(name: str) -> TrainingDataError:
    return TrainingDataError(f"학습 자료 {name}을(를) 읽지 못했어요.", "--data로 자료 폴더를 알려 주세요.")


def _plain_number(cell: str) -> str:
    """``2.0`` and ``2`` are one code."""
    return cell.removesuffix(".0")


def _columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Columns:
    return {name: [row[number] for row in rows] for number, name in enumerate(names)}
