from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from compression.errors import UnsupportedModelError
from compression.language.graph import write_decoder
from compression.language.neox import NeoXConfig
from compression.language.weights import Checkpoint
from compression.methods.quantization import dequantize, quantize
from compression.methods.svd import truncated_svd
from compression.runtime import session

VOCAB = 203
CAPACITY = 96


@dataclass(frozen=True)
class Shape:
    """One variant of the architecture."""

    parallel: bool = True
    rotary: float = 0.5
    tied: bool = True
    head_dim: int = 32
    factorised: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


SHAPES = {
    "generator": Shape(head_dim=64),
    "polyglot": Shape(tied=False, head_dim=64),
    "polyglot 1.3b": Shape(tied=False, head_dim=128),
    "polyglot 5.8b": Shape(tied=False, head_dim=256, rotary=0.25),
    "pythia": Shape(rotary=0.25, tied=False),
    "padded rotary": Shape(rotary=0.25, head_dim=32, parallel=False),
    "quarter of 64": Shape(rotary=0.25, head_dim=64, parallel=False, tied=False),
    "full rotary": Shape(rotary=1.0),
    "full rotary of 64": Shape(rotary=1.0, head_dim=64, parallel=False),
    "factorised": Shape(factorised=True),
    "factorised sequential": Shape(factorised=True, parallel=False, tied=False, head_dim=64),
    "tanh gelu": Shape(extra={"hidden_act": "gelu_fast"}),
    "no attention bias": Shape(extra={"attention_bias": False}),
    "no attention bias, sequential": Shape(extra={"attention_bias": False}, parallel=False),
}


def make_model(shape: Shape, folder: Path) -> GPTNeoXForCausalLM:
    """A random model, saved to ``folder``; its weights are so large that every part shows in the logits."""
    torch.manual_seed(7)
    defaults: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 2 * shape.head_dim,
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "intermediate_size": 5 * shape.head_dim,
        "max_position_embeddings": CAPACITY,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "partial_rotary_factor": shape.rotary,
        },
        "use_parallel_residual": shape.parallel,
        "tie_word_embeddings": shape.tied,
        "eos_token_id": None,
    }
    config = GPTNeoXConfig(**defaults | shape.extra)
    model = GPTNeoXForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.normal_(1, 0.2)
            else:
                parameter.normal_(0, 0.15)
    if shape.factorised:
        factorise(model, folder)
    else:
        model.save_pretrained(folder)
    return model


def factorise(model: GPTNeoXForCausalLM, folder: Path) -> None:
    """Cut every linear layer of the model to 24 (not a multiple of the block), and save the pairs."""
    pairs = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and "layers" in name:
            down, up = truncated_svd(module.weight.detach().numpy(), 24)
            module.weight.data = torch.from_numpy(up @ down)
            pairs |= {f"{name}.down.weight": down, f"{name}.up.weight": up}
    model.save_pretrained(folder)
    dense = load_file(folder / "model.safetensors")
    kept = {
        name: value for name, value in dense.items() if name.replace(".weight", ".up.weight") not in pairs
    }
    save_file(kept | pairs, folder / "model.safetensors")


class Decoder:
    """Runs an exported graph with one shared buffer for past and present."""

    def __init__(self, folder: Path) -> None:
        self.session = session(folder / "model.onnx", threads=1)
        self.caches = {
            value.name: np.zeros((1, value.shape[1], CAPACITY, value.shape[3]), np.float32)
            for value in self.session.get_inputs()
            if value.name.startswith("past")
        }
        self.length = 0

    def __call__(self, ids: list[int], rows: list[int] | None = None) -> np.ndarray:
        self.length += len(ids)
        binding = self.session.io_binding()
        binding.bind_cpu_input("input_ids", np.array([ids]))
        binding.bind_cpu_input("logit_rows", np.arange(len(ids)) if rows is None else np.array(rows))
        binding.bind_cpu_input("seqlens_k", np.array([self.length - 1], np.int32))
        binding.bind_cpu_input("total_sequence_length", np.array(self.length, np.int32))
        for name, cache in self.caches.items():
            place = ("cpu", 0, np.float32, cache.shape, cache.ctypes.data)
            binding.bind_input(name, *place)
            binding.bind_output(name.replace("past_key_values", "present"), *place)
        binding.bind_output("logits")
        self.session.run_with_iobinding(binding)
        return binding.get_outputs()[-1].numpy()[0]


def export(model_folder: Path, out: Path, bits: int) -> Decoder:
    out.mkdir()
    write_decoder(Checkpoint(model_folder), out, bits)
    return Decoder(out)


def reference_logits(model: GPTNeoXForCausalLM, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_logits_and_greedy_continuation_equal_transformers(shape: Shape, tmp_path: Path) -> None:
    model = make_model(shape, tmp_path / "checkpoint")
    ids = np.random.default_rng(3).integers(0, VOCAB, 24).tolist()
    reference = reference_logits(model, ids)
    assert np.ptp(reference) > 1, "a flat reference would hide every error"

    whole = export(tmp_path / "checkpoint", tmp_path / "onnx", 32)
    assert np.abs(whole(ids) - reference).max() < 1e-3
    by_token, in_chunks = Decoder(tmp_path / "onnx"), Decoder(tmp_path / "onnx")
    assert np.abs(np.concatenate([by_token([i]) for i in ids]) - reference).max() < 1e-3
    chunks = np.concatenate([in_chunks(chunk) for chunk in (ids[:7], ids[7:8], ids[8:21], ids[21:])])
    assert np.abs(chunks - reference).max() < 1e-3

    expected = model.generate(torch.tensor([ids]), max_new_tokens=64, do_sample=False, pad_token_id=0)
    continuation = [int(reference[-1].argmax())]
    while len(continuation) < 64:
        continuation.append(int(whole([continuation[-1]])[-1].argmax()))
    assert continuation == expected[0, len(ids) :].tolist()


@pytest.mark.parametrize("name", ["generator", "polyglot"])
@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_logits_are_those_of_the_dequantised_weights(name: str, bits: int, tmp_path: Path) -> None:
    model = make_model(SHAPES[name], tmp_path / "checkpoint")
    ids = np.random.default_rng(4).integers(0, VOCAB, 32).tolist()
    logits = export(tmp_path / "checkpoint", tmp_path / "onnx", bits)(ids)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            tied = module.weight is model.gpt_neox.embed_in.weight
            matrix = quantize(module.weight.detach().numpy(), 8 if tied else bits)
            module.weight.data = torch.from_numpy(dequantize(matrix))
    # What remains is the runtime's int8 activations.
    assert np.corrcoef(logits.ravel(), reference_logits(model, ids).ravel())[0, 1] > 0.9985


@pytest.mark.parametrize(("bits", "agreement"), [(8, 0.998), (4, 0.93)])
def test_quantised_factors_follow_the_full_precision(bits: int, agreement: float, tmp_path: Path) -> None:
    model = make_model(SHAPES["factorised sequential"], tmp_path / "checkpoint")
    ids = np.random.default_rng(4).integers(0, VOCAB, 32).tolist()
    logits = export(tmp_path / "checkpoint", tmp_path / "onnx", bits)(ids)
    assert np.corrcoef(logits.ravel(), reference_logits(model, ids).ravel())[0, 1] > agreement


def test_a_width_that_is_no_multiple_of_the_block_is_padded(tmp_path: Path) -> None:
    shape = Shape(head_dim=16, rotary=1.0, extra={"num_attention_heads": 3, "hidden_size": 48})
    model = make_model(shape, tmp_path / "checkpoint")
    ids = list(range(20))
    logits = export(tmp_path / "checkpoint", tmp_path / "onnx", 8)(ids)
    assert np.corrcoef(logits.ravel(), reference_logits(model, ids).ravel())[0, 1] > 0.9995


@pytest.mark.parametrize("shape", [SHAPES["polyglot"], SHAPES["padded rotary"]])
@pytest.mark.parametrize("bits", [32, 4])
def test_only_the_wanted_rows_are_computed_and_the_cache_is_whole(
    shape: Shape, bits: int, tmp_path: Path
) -> None:
    make_model(shape, tmp_path / "checkpoint")
    everything = export(tmp_path / "checkpoint", tmp_path / "onnx", bits)
    last = Decoder(tmp_path / "onnx")
    ids = list(range(30, 50))
    np.testing.assert_allclose(last(ids, rows=[19]), everything(ids)[19:], atol=1e-4)
    np.testing.assert_allclose(last([5]), everything([5]), atol=1e-4)


def test_bytes_per_token_count_the_linears_and_not_the_looked_up_embedding(tmp_path: Path) -> None:
    make_model(SHAPES["polyglot"], tmp_path / "checkpoint")
    weights = load_file(tmp_path / "checkpoint" / "model.safetensors")
    read = sum(value.nbytes for name, value in weights.items() if "embed_in" not in name)
    (tmp_path / "onnx").mkdir()
    bytes_per_token = write_decoder(Checkpoint(tmp_path / "checkpoint"), tmp_path / "onnx", 32)
    # The sum of the attention's and the MLP's bias is stored once: 3 layers of 128 floats are not read.
    assert bytes_per_token == read - 3 * 128 * 4


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "llama"},
        {"hidden_act": "relu"},
        {"hidden_size": 36},
        {"num_attention_heads": 0},
        {"num_hidden_layers": "many"},
        {"rope_parameters": {"rope_type": "yarn", "partial_rotary_factor": 0.5}},
        {"rotary_pct": 0.0},
    ],
)
def test_another_architecture_is_refused(change: dict[str, Any]) -> None:
    config = GPTNeoXConfig(hidden_size=64, num_attention_heads=2).to_dict() | change
    with pytest.raises(UnsupportedModelError, match="GPT-NeoX"):
        NeoXConfig.from_dict(config)


def test_configurations_before_transformers_5_are_read() -> None:
    polyglot = {
        "model_type": "gpt_neox",
        "hidden_act": "gelu",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 2048,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "rotary_emb_base": 10000,
        "rotary_pct": 0.5,
        "tie_word_embeddings": False,
        "use_parallel_residual": True,
        "vocab_size": 30080,
    }
    config = NeoXConfig.from_dict(polyglot)
    assert (config.head_dim, config.rotary_dim, config.rotary_pairs) == (128, 64, 32)
    assert config.parallel_residual and not config.tied


def test_unknown_precisions_are_refused(tmp_path: Path) -> None:
    make_model(SHAPES["generator"], tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="bits"):
        write_decoder(Checkpoint(tmp_path / "checkpoint"), tmp_path, 3)
