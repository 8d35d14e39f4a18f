from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from agents import encoder
from agents.encoder import Encoder

WORDS = ["안녕", "하세요", "서류", "신청", "얼마", "예요", "파일", "올려요", "고마워", "?", "은", "어떻게"]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real encoder of a dozen subwords with random rows."""
    folder = tmp_path_factory.mktemp("encoder")
    pieces = [("[UNK]", 0.0), *((word, -2.0) for word in WORDS)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rows = np.random.default_rng(0).normal(size=(len(pieces), 8)).astype(np.float32)
    encoder.save(folder, "tiny", tokenizer, rows, "[UNK]")
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Encoder:
    return Encoder.load(tiny_folder)
