"""Trains the generator from nothing: a GPT-NeoX decoder on running text and grounded turns at once.

On a CPU the budget is some ten million tokens, so it goes to what a grounded answer needs: finding the
sentence and copying it. Word meanings start from a spectral factorisation of the corpus's co-occurrences
(Levy & Goldberg, 2014), hidden matrices are trained by Muon (Jordan et al., 2024), the rest by AdamW, on a
warm-up–stable–decay schedule (Hu et al., 2024).
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm import tqdm

from compression.errors import TrainingDataError
from compression.language import examples as ex
from compression.language.corpus import articles, is_prose, read_jsonl, split_sentences
from compression.language.endings import polite
from compression.language.induction import seed_induction
from compression.language.prompt import END
from compression.language.spectral import positive_pmi
from compression.language.tokenizer import train_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import GPTNeoXForCausalLM


# The table starts from learned vectors of size 0.03: at the matrices' rate AdamW would soon forget them.
_OUTSIDE = 0.4


@dataclass(frozen=True)
class Preset:
    """A size of model and the budget to train it.

    Attributes:
        hidden, layers, heads: the decoder's shape; the feed-forward width is four times ``hidden``.
        vocab: number of tokens.
        batch_tokens: tokens a step, padding included.
        steps: optimiser steps.
        decay: share of the steps in the second phase, over which the learning rate falls to zero.
        learning_rate: peak learning rate of both optimisers.
        corpus_articles: articles read for the tokenizer and the spectral start.
    """

    hidden: int
    layers: int
    heads: int
    vocab: int
    batch_tokens: int
    steps: int
    decay: float = 0.3
    warmup: int = 60
    learning_rate: float = 2e-3
    corpus_articles: int = 16_000


PRESETS = {
    "nano": Preset(64, 2, 2, 600, 512, 6, warmup=2, corpus_articles=50),
    "mini": Preset(384, 6, 6, 12_288, 6_144, 2_000),
    "base": Preset(768, 12, 12, 24_576, 131_072, 6_000, warmup=300, corpus_articles=60_000),
}


def tokenizer_texts(data: Path, most: int) -> Iterator[str]:
    """Text for the tokenizer: prose, a third of it in polite style too, and colloquial text."""
    prose = (a.text[:1500] for a in articles(data, 0) if is_prose(a.text[:1500]))
    for number, text in enumerate(itertools.islice(prose, most)):
        yield text
        if number % 3 == 0:
            yield "\n".join(polite(s) for s in split_sentences(text))
    for item in itertools.islice(read_jsonl(data / "text" / "nsmc.jsonl.xz"), 0, most * 16, 4):
        yield item["text"]
    for item in read_jsonl(data / "intent" / "chatbot.jsonl.xz"):
        yield f"{item['question']}\n{item['answer']}"
    for name in ("tydiqa_ko_train", "korquad21_questions"):
        for item in read_jsonl(data / "qa" / f"{name}.jsonl.xz"):
            yield item["question"]


def spectral_embeddings(
    rows: Iterator[list[int]], vocab: int, dimension: int, window: int = 5
) -> NDArray[np.float32]:
    """Token vectors from a truncated SVD of positive pointwise mutual information (Levy & Goldberg, 2014).

    Args:
        rows: token ids of documents.
        vocab: number of tokens.
        dimension: width of the vectors.
        window: how far two tokens may be apart, in tokens; a pair at distance d counts 1/d.

    Returns:
        float32 [vocab, dimension], centred; rows of root-mean-square 1, zero for tokens that do not occur.
    """
    from scipy import sparse  # type: ignore[import-untyped]
    from sklearn.utils.extmath import randomized_svd

    counts = sparse.csr_matrix((vocab, vocab), dtype=np.float32)
    for block in iter(lambda: list(itertools.islice(rows, 2000)), []):
        ids = np.concatenate([np.array(row + [0] * window, np.int32) for row in block])
        for distance in range(1, window + 1):
            pair = (ids[:-distance], ids[distance:])
            weight = np.full(len(pair[0]), 1 / distance, np.float32)
            counts = counts + sparse.coo_matrix((weight, pair), shape=(vocab, vocab)).tocsr()
    positive, totals = positive_pmi(counts + counts.T)
    left, values, _ = randomized_svd(positive, dimension, n_iter=3, random_state=0)
    vectors = left * np.sqrt(values)
    seen = totals > 1
    vectors -= vectors[seen].mean(axis=0)
    vectors *= np.sqrt(dimension) / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)
    vectors[~seen] = 0
    return np.asarray(vectors, np.float32)


def new_model(preset: Preset, tokenizer: Tokenizer, vectors: NDArray[np.float32]) -> GPTNeoXForCausalLM:
    """A fresh decoder in polyglot-ko's layout: parallel residual, half rotary; the table is tied."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    end = tokenizer.token_to_id(END)
    config = GPTNeoXConfig(
        vocab_size=preset.vocab, hidden_size=preset.hidden, num_hidden_layers=preset.layers,
        num_attention_heads=preset.heads, intermediate_size=4 * preset.hidden, rotary_pct=0.5,
        max_position_embeddings=1024, use_parallel_residual=True, tie_word_embeddings=True,
        hidden_dropout=0.0, attention_dropout=0.0, bos_token_id=end, eos_token_id=end,
        attn_implementation="sdpa",
    )  # fmt: skip
    model = GPTNeoXForCausalLM(config)
    table = model.get_input_embeddings().weight
    with torch.no_grad():
        table.normal_(0, 0.02).add_(torch.from_numpy(vectors) * 0.03)
    seed_induction(model)
    return model


def _optimizers(model: GPTNeoXForCausalLM, preset: Preset) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the table, the norms and the biases."""
    import torch

    inside = [p for name, p in model.named_parameters() if p.ndim == 2 and "layers." in name]
    outside = [p for name, p in model.named_parameters() if not (p.ndim == 2 and "layers." in name)]
    return [
        torch.optim.Muon(inside, lr=preset.learning_rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(outside, lr=preset.learning_rate * _OUTSIDE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def learning_rate_factor(step: int, preset: Preset) -> float:
    """Warm-up–stable–decay: linear up, flat, then linear to zero over the last ``decay`` of the steps."""
    decay_steps = max(1, int(preset.steps * preset.decay))
    return min((step + 1) / preset.warmup, 1.0, max(preset.steps - step, 0) / decay_steps)


def weighted_loss(
    model: GPTNeoXForCausalLM, body: Callable[..., Any], ids: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Weighted mean cross-entropy in nats; the head runs only where a weight is above zero.

    Args:
        model: gives the output head.
        body: the decoder without its head, compiled or not.
        ids: int64 [rows, length].
        weights: float32 [rows, length], how much the prediction of each token counts.
    """
    import torch

    hidden = body(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    wanted = weights[:, 1:] > 0
    logits = model.get_output_embeddings()(hidden[wanted]).float()
    losses = torch.nn.functional.cross_entropy(logits, ids[:, 1:][wanted], reduction="none")
    counted = weights[:, 1:][wanted]
    return (losses * counted).sum() / counted.sum()


def _save(run: Path, model: GPTNeoXForCausalLM, optimizers: list[torch.optim.Optimizer], step: int) -> None:
    """Writes a checkpoint (model, optimiser state as safetensors, step) and swaps it in by renaming."""
    from safetensors.torch import save_file

    fresh = run / "checkpoint.new"
    model.save_pretrained(fresh)
    shutil.copyfile(run / "tokenizer.json", fresh / "tokenizer.json")
    state = {
        f"{o}.{p}.{key}": value.clone().contiguous()
        for o, optimizer in enumerate(optimizers)
        for p, entry in optimizer.state_dict()["state"].items()
        for key, value in entry.items()
    }
    save_file(state, fresh / "optimizer.safetensors")
    (fresh / "progress.json").write_text(json.dumps({"step": step}))
    old, current = run / "checkpoint.old", run / "checkpoint"
    _remove(old)
    if current.exists():
        current.rename(old)
    fresh.rename(current)
    _remove(old)


def _remove(folder: Path) -> None:
    if folder.exists():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def _recover(run: Path) -> bool:
    """Whether there is a checkpoint; one that a killed `_save` had set aside is put back first."""
    old, current = run / "checkpoint.old", run / "checkpoint"
    if old.exists() and not current.exists():
        old.rename(current)
    return current.exists()


def _open_log(run: Path, start: int) -> TextIO:
    """The log, for appending, with a line for each step before ``start``: a killed run leaves later ones."""
    file = run / "log.jsonl"
    lines = file.read_text().splitlines(keepends=True)[:start] if file.exists() else []
    file.write_text("".join(lines))
    return file.open("a", buffering=1)


def _restore(run: Path, optimizers: list[torch.optim.Optimizer]) -> int:
    from safetensors.torch import load_file

    flat = load_file(run / "checkpoint" / "optimizer.safetensors")
    for number, optimizer in enumerate(optimizers):
        state = optimizer.state_dict()
        for name, value in flat.items():
            which, parameter, key = name.split(".", 2)
            if int(which) == number:
                state["state"].setdefault(int(parameter), {})[key] = value
        optimizer.load_state_dict(state)
    return int(json.loads((run / "checkpoint" / "progress.json").read_text())["step"])


def train(
    data: Path,
    run: Path,
    preset: Preset,
    minutes: float | None = None,
    seed: int = 1,
    compile_model: bool = True,
) -> dict[str, float]:
    """Trains the preset in ``run``, going on from its checkpoint if there is one.

    Args:
        data: folder of training data.
        run: folder for tokenizer, checkpoints, log and plot.
        preset: size and budget.
        minutes: stop and save after this long, to go on later.
        seed: of the data order.
        compile_model: compile the decoder with torch.compile.

    Returns:
        The held-out figures of `evaluate`.

    Raises:
        TrainingDataError: the data folder is not there.
    """
    import torch
    from transformers import GPTNeoXForCausalLM

    if not data.is_dir():
        raise TrainingDataError(f"학습 자료 폴더 {data}이(가) 없습니다.", "--data로 자료 폴더를 알려 주세요.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    tokenizer = _tokenizer(data, run, preset)
    resumed = _recover(run)
    if resumed:
        model = GPTNeoXForCausalLM.from_pretrained(run / "checkpoint", attn_implementation="sdpa")
    else:
        texts = (
            tokenizer.encode(a.text[:1500]).ids
            for a in itertools.islice(articles(data, 1), preset.corpus_articles)
        )
        model = new_model(preset, tokenizer, spectral_embeddings(texts, preset.vocab, preset.hidden))
    model = model.to(device)
    optimizers = _optimizers(model, preset)
    start = _restore(run, optimizers) if resumed else 0
    _loop(model, optimizers, tokenizer, data, run, preset, start, minutes, seed, compile_model)
    figures = evaluate(model, tokenizer, data)
    (run / "figures.json").write_text(json.dumps({**figures, "preset": asdict(preset)}, indent=1))
    plot_loss(run)
    return figures


def _tokenizer(data: Path, run: Path, preset: Preset) -> Tokenizer:
    file = run / "tokenizer.json"
    if not file.exists():
        return train_tokenizer(tokenizer_texts(data, preset.corpus_articles), preset.vocab, run)
    return Tokenizer.from_file(str(file))


def _loop(
    model: GPTNeoXForCausalLM, optimizers: list[torch.optim.Optimizer], tokenizer: Tokenizer, data: Path,
    run: Path, preset: Preset, start: int, minutes: float | None, seed: int, compile_model: bool,
) -> None:  # fmt: skip
    import torch

    body = torch.compile(model.gpt_neox, dynamic=False) if compile_model else model.gpt_neox
    streams = ex.sources(data, tokenizer, seed + start)
    first_phase = int(preset.steps * (1 - preset.decay))
    phases = [ex.batches(streams, mixture, preset.batch_tokens, seed + start) for mixture in ex.PHASES]
    device = next(model.parameters()).device
    began, saved = time.monotonic(), time.monotonic()
    bar = tqdm(range(start, preset.steps), initial=start, total=preset.steps, unit="step", mininterval=5)
    with _open_log(run, start) as log:
        for step in bar:
            ids, weights = (torch.from_numpy(array).to(device) for array in next(phases[step >= first_phase]))
            factor = learning_rate_factor(step, preset)
            for optimizer, share in zip(optimizers, (1.0, _OUTSIDE), strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = preset.learning_rate * share * factor
            with torch.autocast(device.type, torch.bfloat16):
                loss = weighted_loss(model, body, ids, weights)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            speed = ids.numel() * (step + 1 - start) / (time.monotonic() - began)
            log.write(
                json.dumps({"step": step, "loss": loss.item(), "length": ids.shape[1], "tokens_per_s": speed})
                + "\n"
            )
            bar.set_postfix(loss=f"{loss.item():.3f}", tok_s=f"{speed:.0f}", refresh=False)
            if time.monotonic() - saved > 300:
                _save(run, model, optimizers, step + 1)
                saved = time.monotonic()
            if minutes is not None and time.monotonic() - began > minutes * 60:
                _save(run, model, optimizers, step + 1)
                return
    _save(run, model, optimizers, preset.steps)


def evaluate(model: GPTNeoXForCausalLM, tokenizer: Tokenizer, data: Path, most: int = 60) -> dict[str, float]:
    """Held-out perplexity per token and bits per character of encyclopedic and of colloquial text.

    Encyclopedic text is articles of the held-out hash; colloquial text is the last reviews of the
    review corpus, which the budgets of our presets never reach. A kind without held-out text has no figures.
    """
    reviews = [
        item["text"]
        for item in itertools.islice(read_jsonl(data / "text" / "nsmc.jsonl.xz"), 240_000, 241_000)
    ]
    prose = [a.text[:1200] for a in articles(data, 0, held_out=True) if is_prose(a.text[:1500])]
    figures: dict[str, float] = {}
    for name, texts in (("encyclopedic", prose[:most]), ("colloquial", [" ".join(reviews)[:60_000]])):
        nats, tokens, characters = _text_loss(model, tokenizer, texts)
        if tokens:
            figures[f"{name}_perplexity"] = math.exp(nats / tokens)
            figures[f"{name}_bits_per_character"] = nats / math.log(2) / characters
    return figures


def _text_loss(model: GPTNeoXForCausalLM, tokenizer: Tokenizer, texts: list[str]) -> tuple[float, int, int]:
    import torch

    nats, tokens, characters = 0.0, 0, 0
    device = next(model.parameters()).device
    for text in texts:
        ids = tokenizer.encode(text).ids
        for begin in range(0, len(ids) - 1, 256):
            row = torch.tensor([ids[begin : begin + 257]], device=device)
            if row.shape[1] < 2:
                continue
            with torch.no_grad():
                logits = model(input_ids=row[:, :-1]).logits[0].float()
            nats += float(torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum"))
            tokens += row.shape[1] - 1
            characters += len(tokenizer.decode(row[0, 1:].tolist()))
    return nats, tokens, characters


def plot_loss(run: Path) -> Path:
    """Draws the training loss over the steps, raw and smoothed, into ``loss.png``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps, losses = np.array([r["step"] for r in rows]), np.array([r["loss"] for r in rows])
    width = min(50, len(losses))
    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot(steps, losses, alpha=0.25, linewidth=0.6)
    axes.plot(steps[width - 1 :], np.convolve(losses, np.ones(width) / width, "valid"))
    axes.set(xlabel="step", ylabel="loss (nats per token)", title="generator")
    figure.tight_layout()
    figure.savefig(run / "loss.png", dpi=120)
    pyplot.close(figure)
    return run / "loss.png"
