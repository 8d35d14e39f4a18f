"""GPT-NeoX in PyTorch whose linear layers may be pairs of factors; reads and writes the checkpoints of `compress`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from compression.errors import ModelCorruptError
from compression.language.layout import LINEARS
from compression.language.neox import NeoXConfig
from compression.language.tensors import full_disk_explained, write_tensors
from compression.language.weights import Checkpoint

_HEAD, _STORED_HEAD = "lm_head", "embed_out"  # transformers' name for the head, and the checkpoints'
MakeLinear = Callable[[torch.Tensor, torch.Tensor | None], nn.Module]
"""Weight [out, in] and bias [out] → a module that multiplies with them."""


class FactorisedLinear(nn.Module):
    """``x → up(down(x)) + bias``; its parameters are called as `language.graph` calls them."""

    def __init__(self, down: nn.Module, up: nn.Module, bias: torch.Tensor | None) -> None:
        """Joins two linear modules without bias: ``down`` [rank, in] and ``up`` [out, rank]."""
        super().__init__()
        self.down, self.up = down, up
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [..., in] → [..., out]."""
        product: torch.Tensor = self.up(self.down(x))
        return product if self.bias is None else product + self.bias


def dense_linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Module:
    """An ``nn.Linear`` over these very tensors."""
    with torch.device("meta"):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    linear.weight = nn.Parameter(weight)
    if bias is not None:
        linear.bias = nn.Parameter(bias)
    return linear


def load_model(folder: Path, make_linear: MakeLinear = dense_linear) -> GPTNeoXForCausalLM:
    """A dense or factorised checkpoint as a model in float32, read tensor by tensor.

    Args:
        folder: of the checkpoint.
        make_linear: makes every linear layer of the blocks, for example one that stores its weight in few bits:
            no more than one weight then stands in memory in float32.

    Raises:
        ModelError: the checkpoint is damaged or of another architecture.
    """
    checkpoint = Checkpoint(folder)
    NeoXConfig.from_dict(checkpoint.config)
    config = GPTNeoXConfig.from_dict({**checkpoint.config, "_attn_implementation": "sdpa"})
    config.dtype = torch.float32
    with torch.device("meta"):
        model = GPTNeoXForCausalLM(config)
    # Rotary frequencies are in no file: their module is made anew, off the meta device.
    model.gpt_neox.rotary_emb = type(model.gpt_neox.rotary_emb)(config)
    for block in range(config.num_hidden_layers):
        for linear in LINEARS:
            name = f"gpt_neox.layers.{block}.{linear}"
            model.set_submodule(name, _read_linear(checkpoint, name, make_linear))
    _fill(model, checkpoint)
    return model.eval()


def _read_linear(checkpoint: Checkpoint, name: str, make: MakeLinear) -> nn.Module:
    bias = torch.from_numpy(checkpoint[f"{name}.bias"]) if f"{name}.bias" in checkpoint else None
    if f"{name}.down.weight" not in checkpoint:
        return make(torch.from_numpy(checkpoint[f"{name}.weight"]), bias)
    down, up = (torch.from_numpy(checkpoint[f"{name}.{part}.weight"]) for part in ("down", "up"))
    if down.ndim != 2 or up.ndim != 2 or up.shape[1] != down.shape[0]:
        raise ModelCorruptError(f"인수 두 개의 크기가 서로 맞지 않아요: {name}", "다시 압축해 주세요.")
    return FactorisedLinear(make(down, None), make(up, None), bias)


def _fill(model: GPTNeoXForCausalLM, checkpoint: Checkpoint) -> None:
    """Everything that is not a linear layer of a block."""
    for name, value in list(model.named_parameters()):
        if value.is_meta and name != f"{_HEAD}.weight":
            _assign(model, name, nn.Parameter(torch.from_numpy(checkpoint[name])))
    table = model.gpt_neox.embed_in.weight
    tied = model.config.tie_word_embeddings
    model.lm_head.weight = (
        table if tied else nn.Parameter(torch.from_numpy(checkpoint[f"{_STORED_HEAD}.weight"]))
    )


def _assign(model: nn.Module, name: str, value: nn.Parameter) -> None:
    owner, _, attribute = name.rpartition(".")
    module = model.get_submodule(owner)
    if getattr(module, attribute).shape != value.shape:
        raise ModelCorruptError(
            f"체크포인트의 가중치 크기가 달라요: {name}", "체크포인트를 다시 받아 주세요."
        )
    setattr(module, attribute, value)


def save_model(model: GPTNeoXForCausalLM, source: Path, out: Path) -> None:
    """Write a model as a checkpoint in float16 (float32 where the source is), with the source's config and tokenizer.

    Args:
        model: of `load_model`, its adapters merged.
        source: folder of the checkpoint that it was loaded from.
        out: folder, made when it is missing.

    Raises:
        ModelError: the disk is full.
    """
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    dtype = np.float32 if "32" in str(config.get("dtype", config.get("torch_dtype"))) else np.float16
    config["dtype"] = np.dtype(dtype).name
    tensors = _stored(model)
    with full_disk_explained():
        out.mkdir(parents=True, exist_ok=True)
        shapes = {name: tuple(value.shape) for name, value in tensors.items()}
        arrays = ((name, value.detach().cpu().numpy()) for name, value in tensors.items())
        write_tensors(out / "model.safetensors", shapes, arrays, dtype)
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        (out / "config.json").write_text(text, encoding="utf-8")
        if source.resolve() != out.resolve():
            shutil.copyfile(source / "tokenizer.json", out / "tokenizer.json")


def _stored(model: GPTNeoXForCausalLM) -> Mapping[str, torch.Tensor]:
    """Parameters under the names of the checkpoints; a tied head is stored once."""
    return {
        name.replace(_HEAD, _STORED_HEAD): value
        for name, value in model.named_parameters(remove_duplicate=True)
    }
