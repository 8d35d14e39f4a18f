"""How well a PyTorch model writes grounded answers: it answers held-out turns, and the answers are compared.

The sentence that the answer rests on is given by its label, as the assistant gives it; the model writes the rest.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from compression.language.corpus import articles, split_sentences
from compression.language.examples import LENGTHS
from compression.language.grounded import Turn, natural_turns
from compression.language.prompt import END, LABELS, NONE, Evidence, prompt_text

if TYPE_CHECKING:
    from transformers import GPTNeoXForCausalLM

Measures = Mapping[str, Callable[[str, str], float]]
"""Name → (answer, gold) → a score in [0, 1]."""

_ROWS_AT_ONCE = 16


def held_out_turns(data: Path, most: int, seed: int = 0) -> list[Turn]:
    """Answerable turns of questions that no training sees, in a fixed random order.

    Args:
        data: folder of training data.
        most: how many at most.
        seed: of their order and distractors.
    """
    sample = itertools.islice(articles(data, 0, held_out=True), 60)
    strangers = [
        Evidence(a.title, s) for a in sample for s in split_sentences(a.text[:600])[:2] if len(s) < 150
    ]
    rng = random.Random(seed)
    turns = [
        turn for turn in natural_turns(data, strangers, rng, held_out=True) if turn.answer_index is not None
    ]
    rng.shuffle(turns)
    return turns[:most]


def labelled_prompt(turn: Turn) -> str:
    """The prompt with the label of the sentence that answers."""
    label = NONE if turn.answer_index is None else LABELS[turn.answer_index]
    return prompt_text(turn.question, turn.evidence, turn.history) + label


def grounded_scores(
    model: GPTNeoXForCausalLM, tokenizer: Tokenizer, turns: Sequence[Turn], measures: Measures
) -> dict[str, float]:
    """Mean scores of greedy answers; a measure's name → its mean."""
    answers = list(greedy_answers(model, tokenizer, turns))
    return mean_scores(answers, [turn.answer for turn in turns], measures)


def mean_scores(answers: Sequence[str], golds: Sequence[str], measures: Measures) -> dict[str, float]:
    """The mean of every measure over pairs of answer and gold; 0 for none."""
    return {
        name: sum(map(measure, answers, golds)) / max(len(answers), 1) for name, measure in measures.items()
    }


def greedy_answers(model: GPTNeoXForCausalLM, tokenizer: Tokenizer, turns: Sequence[Turn]) -> Iterator[str]:
    """The model's answers, prompts of like length side by side, in the turns' order."""
    prompts = [tokenizer.encode(labelled_prompt(turn)).ids[-LENGTHS[-1] :] for turn in turns]
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    found: dict[int, str] = {}
    for start in range(0, len(order), _ROWS_AT_ONCE):
        numbers = order[start : start + _ROWS_AT_ONCE]
        room = 8 + max(len(tokenizer.encode(turns[number].answer).ids) for number in numbers)
        written = _generate(model, tokenizer, [prompts[number] for number in numbers], room)
        found |= dict(zip(numbers, written, strict=True))
    yield from (found[number] for number in range(len(turns)))


def _generate(
    model: GPTNeoXForCausalLM, tokenizer: Tokenizer, prompts: list[list[int]], most: int
) -> list[str]:
    """Greedy answers to prompts that are padded on the left."""
    import torch

    end = tokenizer.token_to_id(END)
    length = max(map(len, prompts))
    ids = np.full((len(prompts), length), end, np.int64)
    mask = np.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, length - len(prompt) :], mask[row, length - len(prompt) :] = prompt, 1
    device = next(model.parameters()).device
    with torch.inference_mode():
        written = model.generate(
            input_ids=torch.from_numpy(ids).to(device), attention_mask=torch.from_numpy(mask).to(device),
            max_new_tokens=most, do_sample=False, eos_token_id=end, pad_token_id=end,
        )  # fmt: skip
    return [tokenizer.decode(row.tolist()).strip() for row in written[:, length:].cpu()]
