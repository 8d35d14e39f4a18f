"""Text generation: a tokenizer, a model session and a sampler behind one lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Literal, Self

import numpy as np
from tokenizers import Tokenizer

from assistant.engine.config import EngineConfig, read_config
from assistant.engine.detokenizer import Detokenizer, StopStrings, token_bytes
from assistant.engine.sampler import Constrain, Floats, GenerationOptions, Sampler
from assistant.engine.session import ModelSession
from assistant.errors import EmptyMessageError, MessageTooLongError
from compression.artefacts import model_folder
from compression.errors import ModelCorruptError, ModelMissingError

__all__ = ["Engine", "GeneratedPiece", "Generation", "GenerationOptions", "Usage"]

Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class GeneratedPiece:
    """One step of an answer.

    Attributes:
        text: the whole characters that became certain; empty for special tokens, within a syllable and
            while a stop string may be beginning.
        token: id of the generated token, special ones included; None for held-back text at the end.
    """

    text: str
    token: int | None


@dataclass
class Usage:
    """What an answer took so far.

    Attributes:
        prompt_tokens: tokens of the prompt.
        cached_tokens: of these, how many the slot already held.
        generated_tokens: tokens generated, the end token included.
        first_token_ms: from having the slot to the first token.
        tokens_per_second: of the tokens after the first, the caller's own time between them included.
        finish_reason: ``stop`` (end token or stop string), ``length``, or ``cancelled`` (closed early too).
    """

    prompt_tokens: int
    cached_tokens: int = 0
    generated_tokens: int = 0
    first_token_ms: float = 0.0
    tokens_per_second: float = 0.0
    finish_reason: Literal["stop", "length", "cancelled"] = "cancelled"


class Generation(Iterator[GeneratedPiece]):
    """An answer being generated; closing or dropping it frees the engine for the next one.

    Attributes:
        usage: filled in step by step, final when the iteration has ended.
    """

    def __init__(self, pieces: Generator[GeneratedPiece], usage: Usage) -> None:
        # The generator must not know this object: a cycle would keep the lock until a garbage collection.
        self._pieces = pieces
        self.usage = usage

    def __next__(self) -> GeneratedPiece:
        return next(self._pieces)

    def close(self) -> None:
        """Stop generating; the engine is free on return."""
        self._pieces.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Engine:
    """Generates with one model. Threads queue: an answer holds the engine from its first piece to its end.

    Attributes:
        config: the model's sizes and end tokens.
        special_tokens: special tokens of the tokenizer, text → id.
    """

    def __init__(self, tokenizer: Tokenizer, session: ModelSession, config: EngineConfig) -> None:
        self.config = config
        self._tokenizer = tokenizer
        self._session = session
        self._bytes = token_bytes(tokenizer)
        self._lock = Lock()
        added = tokenizer.get_added_tokens_decoder().items()
        self.special_tokens: dict[str, int] = {
            token.content: index for index, token in added if token.special
        }

    @classmethod
    def load(cls, folder: Path | None = None, threads: int | None = None) -> Engine:
        """Load a model.

        Args:
            folder: an exported model; the embedded generator by default, checked against the manifest.
            threads: of the runtime; all physical cores by default.

        Raises:
            ModelError: the model is missing, damaged or of another kind.
            UnsupportedMachineError: the processor cannot run it.
        """
        folder = model_folder("generator") if folder is None else folder
        config = read_config(folder)
        tokenizer = _load_tokenizer(folder / "tokenizer.json")
        if tokenizer.get_vocab_size(with_added_tokens=True) > config.vocab_size:
            raise ModelCorruptError(
                "토크나이저가 모델과 맞지 않아요.", "모델을 다시 받거나 다시 내보내 주세요."
            )
        return cls(tokenizer, ModelSession(folder, config, threads), config)

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a text; special tokens written in it become their ids, and none is added."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def stream(
        self,
        prompt: str | list[int],
        options: GenerationOptions | None = None,
        cancelled: Cancelled | None = None,
        constrain: Constrain | None = None,
    ) -> Generation:
        """Generate an answer, piece by piece.

        Work starts, and the engine is held, from the first piece asked for. A thread must end one generation
        before it begins another, or it waits for itself.

        Args:
            prompt: text or token ids.
            options: greedy and 256 tokens by default; cut to what the context leaves.
            cancelled: asked before every pass of the model; true ends the answer.
            constrain: called with the tokens so far and the logits float32 [vocab], which it may change in
                place, before each choice.

        Returns:
            An iterator of pieces with the ``usage``.

        Raises:
            EmptyMessageError: the prompt has no tokens.
            MessageTooLongError: the prompt leaves no room for an answer.
        """
        ids = self.tokenize(prompt) if isinstance(prompt, str) else list(prompt)
        self._check(ids)
        usage = Usage(prompt_tokens=len(ids))
        pieces = self._generate(ids, options or GenerationOptions(), cancelled, constrain, usage)
        return Generation(pieces, usage)

    def score(self, prompt_ids: list[int], continuation_ids: list[int]) -> float:
        """Mean natural log-probability of a continuation's tokens.

        Args:
            prompt_ids: at least one token.
            continuation_ids: at least one token.

        Raises:
            EmptyMessageError: one of them has no tokens.
            MessageTooLongError: together they exceed the context.
        """
        if not continuation_ids:
            raise EmptyMessageError("점수를 매길 글이 비어 있어요.")
        self._check(prompt_ids + continuation_ids[:-1])
        with self._lock:
            first = self._session.prefill(prompt_ids)
            logits = [np.array(first)[None]]
            if len(continuation_ids) > 1:
                rest = continuation_ids[:-1]
                logits.append(self._session.forward(rest, rows=len(rest)))
            chosen = _log_softmax(np.concatenate(logits))
        return float(chosen[np.arange(len(continuation_ids)), continuation_ids].mean())

    def _check(self, ids: list[int]) -> None:
        if not ids:
            raise EmptyMessageError("메시지가 비어 있어요.", "내용을 입력해 주세요.")
        if len(ids) >= self.config.max_length:
            raise MessageTooLongError(
                f"글이 너무 길어요({len(ids)}토큰, 최대 {self.config.max_length - 1}토큰).",
                "내용을 줄여서 다시 시도해 주세요.",
            )
        if not 0 <= min(ids) <= max(ids) < self.config.vocab_size:
            raise ValueError("token ids outside the vocabulary")

    def _generate(
        self,
        ids: list[int],
        options: GenerationOptions,
        cancelled: Cancelled | None,
        constrain: Constrain | None,
        usage: Usage,
    ) -> Generator[GeneratedPiece]:
        stops, detokenizer = StopStrings(options.stop), Detokenizer(self._bytes)
        with self._lock:
            for token in self._tokens(ids, options, cancelled, Sampler(options, constrain), usage):
                yield GeneratedPiece(stops.push(detokenizer.push(token)), token)
                if stops.found:
                    usage.finish_reason = "stop"
                    return
            if held := stops.flush():
                yield GeneratedPiece(held, None)

    def _tokens(
        self,
        ids: list[int],
        options: GenerationOptions,
        cancelled: Cancelled | None,
        sampler: Sampler,
        usage: Usage,
    ) -> Iterator[int]:
        """Tokens up to the end token, which is not among them."""
        clock = _Clock(usage)
        usage.cached_tokens = self._session.cached(ids)
        logits = self._session.prefill(ids, cancelled)
        generated: list[int] = []
        limit = min(options.max_tokens, self.config.max_length - len(ids))
        while logits is not None:
            # The head may have more rows than the tokenizer has tokens.
            token = sampler.choose(logits[: len(self._bytes)], generated)
            generated.append(token)
            clock.tick()
            if token in self.config.eos_token_ids:
                usage.finish_reason = "stop"
                return
            if len(generated) == limit:
                usage.finish_reason = "length"
            yield token
            if len(generated) == limit or (cancelled is not None and cancelled()):
                return
            logits = self._session.forward([token])[0]


class _Clock:
    """Writes the times of tokens into a usage."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._began = time.perf_counter()
        self._first = 0.0

    def tick(self) -> None:
        now = time.perf_counter()
        self._usage.generated_tokens += 1
        if self._usage.generated_tokens == 1:
            self._first = now
            self._usage.first_token_ms = 1000 * (now - self._began)
        else:
            self._usage.tokens_per_second = (self._usage.generated_tokens - 1) / (now - self._first)


def _load_tokenizer(file: Path) -> Tokenizer:
    if not file.is_file():
        raise ModelMissingError(f"모델 파일이 없어요: {file.name}", "모델을 다시 받아 주세요.")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise ModelCorruptError(
            f"모델 파일이 손상되었어요: {file.name}", "모델을 다시 받아 주세요."
        ) from error


def _log_softmax(logits: Floats) -> Floats:
    shifted: Floats = logits - logits.max(axis=-1, keepdims=True)
    normaliser: Floats = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted - normaliser
