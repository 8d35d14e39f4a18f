from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from assistant.engine.engine import Engine
from compression.language.export import export

TEXTS = [
    "청년 월세 지원은 매달 이십만 원까지, 최대 열두 달 동안 받을 수 있어요.",
    "도서관은 월요일에 쉬고, 평일에는 오전 아홉 시부터 저녁 여섯 시까지 문을 열어요.",
    "여권을 다시 만들려면 사진 한 장과 신분증을 가지고 구청 민원실로 가 주세요.",
    "The boiler's pressure gauge reads 1.5 bar (정상).",
]


def make_tokenizer(file: Path) -> Tokenizer:
    """A byte-level BPE tokenizer with so few merges that most syllables take several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<|end|>", "<|user|>", "<|bot|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.save(str(file))
    return tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model; its head has more rows than the tokenizer has tokens, as polyglot-ko's."""
    folder = tmp_path_factory.mktemp("checkpoint")
    make_tokenizer(folder / "tokenizer.json")
    torch.manual_seed(11)
    config = GPTNeoXConfig(
        vocab_size=352,
        hidden_size=64,
        num_attention_heads=2,
        num_hidden_layers=2,
        intermediate_size=128,
        max_position_embeddings=384,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
        tie_word_embeddings=True,
        eos_token_id=0,
    )
    model = GPTNeoXForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("model"), bits=8)


@pytest.fixture
def engine(model: Path) -> Iterator[Engine]:
    """A cold engine."""
    yield Engine.load(model, threads=1)
