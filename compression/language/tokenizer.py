"""The generator's tokenizer: byte-level BPE over NFC text, single digits, the prompt's special tokens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from compression.language.prompt import SPECIAL_TOKENS

# Digits stay single so that a number can be copied exactly; a word keeps its leading space.
_PIECES = Regex(r" ?[가-힣]+| ?[A-Za-z]+| ?[0-9]| ?[^\s가-힣A-Za-z0-9]+|\s+")


def train_tokenizer(texts: Iterable[str], vocab_size: int, out: Path) -> Tokenizer:
    """Trains and saves the tokenizer.

    Args:
        texts: training text; repeated text weighs more.
        vocab_size: number of tokens, special tokens included.
        out: where ``tokenizer.json`` is written.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    return tokenizer
