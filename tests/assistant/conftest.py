"""The parts of a turn: the embedded encoder and router, a hand-made gate, a tiny random generator of our own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from agents.encoder import Encoder
from agents.router import Router
from assistant.dialog import Assistant
from assistant.engine.engine import Engine
from assistant.grounding import Gate
from assistant.history import History
from assistant.settings import Settings
from compression.artefacts import models_folder, write_manifest
from compression.language.tokenizer import train_tokenizer
from retrieval.index import Index
from tests.assistant.turn import GYM, LIBRARY, write_documents, write_gate


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A generator's tokenizer, trained on our two documents."""
    return train_tokenizer([LIBRARY, GYM] * 3, 600, tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="session")
def random_generator(words: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported GPT-NeoX that was never trained: whatever it writes is nonsense."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    from compression.language.export import export

    folder = tmp_path_factory.mktemp("random")
    torch.manual_seed(3)
    config = GPTNeoXConfig(
        vocab_size=600, hidden_size=32, num_attention_heads=2, num_hidden_layers=1, intermediate_size=64,
        max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(folder / "checkpoint")
    words.save(str(folder / "checkpoint" / "tokenizer.json"))
    return export(folder / "checkpoint", folder / "generator", bits=8)


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder.load()


@pytest.fixture(scope="session")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate.load(write_gate(tmp_path_factory.mktemp("gate")))


@pytest.fixture
def library(tmp_path: Path, encoder: Encoder) -> Iterator[Index]:
    """An index of the two documents."""
    with Index.open(tmp_path / "index", encoder) as index:
        index.ingest(write_documents(tmp_path / "documents"))
        yield index


@pytest.fixture
def talk(
    tmp_path: Path, encoder: Encoder, library: Index, gate: Gate, random_generator: Path
) -> Iterator[Assistant]:
    """An assistant over the two documents whose generator writes nonsense."""
    settings = Settings(home=tmp_path / "home")
    history = History(settings.home / "conversations.db")
    engine = Engine.load(random_generator, threads=1)
    yield Assistant(settings, encoder, Router.load(encoder), library, history, gate, engine)
    history.close()


@pytest.fixture(scope="session")
def models(random_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder: the embedded encoder and router beside the tiny generator and the hand-made gate."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("encoder", "router"):
        shutil.copytree(models_folder() / name, folder / name)
    shutil.copytree(random_generator, folder / "generator")
    write_gate(folder / "gate")
    write_manifest(folder)
    return folder
