"""The report of an evaluation: one JSON file, and one HTML file that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from assistant.evaluation import plots
from assistant.evaluation.figures import ROWS, figures, risk
from assistant.evaluation.runs import Finished, Outcome
from assistant.evaluation.systems import SYSTEMS

Results = Mapping[str, Sequence[Finished]]

_PLOTTED = (
    "passage_r1",
    "passage_r5",
    "span_f1",
    "response_f1",
    "rouge_l",
    "chrf",
    "faithfulness",
    "abstention_f1",
)
_SHORT = ("R@1", "R@5", "구간 F1", "답 F1", "ROUGE-L", "chrF", "충실도", "기권 F1")
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.6 system-ui, "Noto Sans KR", "Malgun Gothic", sans-serif }
body { max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 } th, td { padding: .15rem .7rem; text-align: right }
th:first-child, td:first-child { text-align: left } tr.group th { padding-top: .7rem; opacity: .7 }
thead th { border-bottom: 1px solid #8888 } 
svg { max-width: 100%; height: auto } svg text { fill: currentColor; font-size: 12px }
details { margin: .3rem 0; border-left: 3px solid #8884; padding-left: .7rem } summary { cursor: pointer }
.turn { margin: .8rem 0 } .quote { opacity: .75 } .good { color: #059669 } .bad { color: #dc2626 }
.key { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 1rem }
"""


def summarised(results: Results) -> dict[str, Any]:
    """Figures of every system: ``{system: {"all": {…}, "domains": {domain: {…}}}}``."""
    return {
        system: {
            "all": figures(_outcomes(finished)),
            "domains": {
                domain: figures(_outcomes([item for item in finished if item.domain == domain]))
                for domain in dict.fromkeys(item.domain for item in finished)
            },
        }
        for system, finished in results.items()
    }


def write(
    folder: Path,
    about: Mapping[str, Any],
    summary: Mapping[str, Any],
    results: Results,
    threshold: float | None,
) -> Path:
    """Writes ``report.json``, ``report.html`` and, where a gate was measured, ``risk_coverage.png``.

    Args:
        folder: is there already.
        about: what was evaluated, shown at the head: plain JSON values.
        summary: from `summarised`.
        results: finished dialogues by system.
        threshold: confidence from which the assistant answers, to mark on the curve.

    Returns:
        The HTML file.
    """
    text = json.dumps({"about": dict(about), "systems": dict(summary)}, ensure_ascii=False, indent=1) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    gated = _outcomes(results.get("damso", ()))
    if any(outcome.confidence is not None for outcome in gated):
        coverage, risks, area = risk(gated)
        png = folder / "risk_coverage.png"
        plots.risk_coverage_png(png, (coverage, risks), _mark(gated, threshold), area)
    page = folder / "report.html"
    page.write_text(html(about, summary, results, threshold), encoding="utf-8")
    return page


def html(
    about: Mapping[str, Any], summary: Mapping[str, Any], results: Results, threshold: float | None
) -> str:
    """The whole page; every text of the set and of the systems is escaped."""
    overall = {system: values["all"] for system, values in summary.items()}
    facts = " · ".join(f"{escape(str(key))}: {escape(str(value))}" for key, value in about.items())
    return "".join(
        [
            '<!doctype html><html lang="ko"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width"><title>담소 평가 보고서</title>',
            f"<style>{_STYLE}</style></head><body><h1>담소 평가 보고서</h1><p>{facts}</p>",
            f"<h2>전체</h2>{_legend(overall)}{_bars(overall)}{_table(overall)}",
            _risk(_outcomes(results.get("damso", ())), threshold),
            "<h2>분야별</h2>",
            *(_domains(system, values["domains"]) for system, values in summary.items()),
            "<h2>대화별</h2><p>대화를 누르면 질문마다 답과 근거를 볼 수 있어요.</p>",
            *_dialogues(results),
            "</body></html>\n",
        ]
    )


def _outcomes(finished: Sequence[Finished]) -> list[Outcome]:
    return [outcome for item in finished for outcome in item.outcomes]


def _label(system: str) -> str:
    return SYSTEMS.get(system, system)


def _legend(overall: Mapping[str, Any]) -> str:
    keys = (
        f'<span class="key" style="background:{plots.COLOURS[number % len(plots.COLOURS)]}"></span>'
        f"{escape(_label(system))}"
        for number, system in enumerate(overall)
    )
    return f"<p>{''.join(keys)}</p>"


def _bars(overall: Mapping[str, Any]) -> str:
    series = {system: [values[key] or 0.0 for key in _PLOTTED] for system, values in overall.items()}
    return plots.bars(series, _SHORT)


def _table(columns: Mapping[str, Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{escape(_label(name))}</th>" for name in columns)
    body = []
    for group, rows in groupby(ROWS, key=lambda row: row.group):
        body.append(f'<tr class="group"><th>{escape(group)}</th></tr>')
        for row in rows:
            cells = (_value(values[row.key], row.form) for values in columns.values())
            body.append(
                f"<tr><td>{escape(row.label)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
            )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _value(value: float | int | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _domains(system: str, domains: Mapping[str, Mapping[str, Any]]) -> str:
    return f"<details><summary>{escape(_label(system))}</summary>{_table(domains)}</details>"


def _mark(outcomes: Sequence[Outcome], threshold: float | None) -> tuple[float, float] | None:
    """Coverage and risk at a threshold."""
    accepted = [o for o in outcomes if threshold is not None and (o.confidence or 0.0) >= threshold]
    if not accepted:
        return None
    wrong = sum(not outcome.best_is_right for outcome in accepted)
    return len(accepted) / len(outcomes), wrong / len(accepted)


def _risk(outcomes: Sequence[Outcome], threshold: float | None) -> str:
    if not any(outcome.confidence is not None for outcome in outcomes):
        return ""
    coverage, risks, _ = risk(outcomes)
    drawn = plots.curve(
        (coverage, risks), _mark(outcomes, threshold), ("응답률(답한 질문의 비율)", "위험(틀린 문장의 비율)")
    )
    return f"<h2>문지기: 위험–응답률</h2><p>점은 지금의 문턱({_value(threshold, '{:.2f}')})이에요.</p>{drawn}"


def _dialogues(results: Results) -> list[str]:
    """A fold for every dialogue, with the systems' answers to a question one below the other."""
    by_dialogue: dict[str, dict[str, Finished]] = {}
    for system, finished in results.items():
        for item in finished:
            by_dialogue.setdefault(item.dialogue, {})[system] = item
    return [_dialogue(identifier, systems) for identifier, systems in by_dialogue.items()]


def _dialogue(identifier: str, systems: Mapping[str, Finished]) -> str:
    first = next(iter(systems.values()))
    turns = []
    for number, asked in enumerate(first.outcomes):
        spans = "".join(f'<li class="quote">{escape(text)}</li>' for text in asked.gold_spans)
        answers = "".join(_answer(system, item.outcomes[number]) for system, item in systems.items())
        turns.append(
            f'<div class="turn"><b>사용자</b> {escape(asked.question)}<br><b>정답</b> {escape(asked.gold)} '
            f"<small>{escape(asked.act)}</small><ul>{spans}</ul>{answers}</div>"
        )
    heading = f"{escape(identifier)} · {escape(first.domain)} · 질문 {len(first.outcomes)}개"
    return f"<details><summary>{heading}</summary>{''.join(turns)}</details>"


def _answer(system: str, outcome: Outcome) -> str:
    right = outcome.common_characters > 0 if outcome.answerable else outcome.abstained
    mark = '<span class="good">✓</span>' if right else '<span class="bad">✗</span>'
    cited = "".join(f'<li class="quote">{escape(text)}</li>' for text in outcome.cited)
    rank = "–" if outcome.passage_rank is None else outcome.passage_rank
    facts = (
        f"정답 구절의 순위 {rank} · 확신 {_value(outcome.confidence, '{:.2f}')} · {outcome.total_ms:.0f} ms"
    )
    return (
        f"<details><summary>{mark} <b>{escape(_label(system))}</b> {escape(outcome.answer)}</summary>"
        f"<small>{facts}</small><ul>{cited}</ul></details>"
    )
