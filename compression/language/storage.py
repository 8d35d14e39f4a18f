"""Linear layers whose frozen weight is stored in few bits and multiplied in float32: what adapters are tuned on.

FP16 and FP8 are storage only: the weight is widened for each product, and again for the gradient, so that no wide
copy outlives it. FP8 is E4M3 with one scale a weight, amax / 448 (Micikevicius et al., 2022). INT8 and NF4 are
bitsandbytes' (Dettmers et al., 2022 and 2023).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import torch
from torch import nn

from compression.language.factorised import MakeLinear, dense_linear

_E4M3_MAX = 448.0


class Storage(StrEnum):
    """How frozen weights are kept."""

    fp32 = "fp32"
    fp16 = "fp16"
    fp8 = "fp8"
    int8 = "int8"
    nf4 = "nf4"


def make_linear(storage: Storage) -> MakeLinear:
    """The maker of linear layers for `factorised.load_model`.

    Raises:
        ModuleNotFoundError: bitsandbytes is needed and missing.
    """
    if storage in (Storage.int8, Storage.nf4):
        return _int8_linear if storage is Storage.int8 else _nf4_linear
    if storage is Storage.fp32:
        return dense_linear
    dtype = torch.float16 if storage is Storage.fp16 else torch.float8_e4m3fn
    return lambda weight, bias: StoredLinear(weight, bias, dtype)


def mark_loaded(model: nn.Module, storage: Storage) -> None:
    """Tells peft which of bitsandbytes' layers it will find."""
    model.is_loaded_in_8bit = storage is Storage.int8  # type: ignore[assignment]
    model.is_loaded_in_4bit = storage is Storage.nf4  # type: ignore[assignment]


def stored(weight: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, float]:
    """A weight in a narrow floating type and the scale that gives it back: ``weight ≈ narrow · scale``.

    Args:
        weight: float32.
        dtype: float16 (scale 1), or float8_e4m3fn, which is scaled so that its largest element is 448.
    """
    if dtype is torch.float16:
        return weight.to(dtype), 1.0
    scale = float(weight.abs().max()) / _E4M3_MAX or 1.0
    return (weight / scale).to(dtype), scale


class StoredLinear(nn.Linear):
    """A frozen linear layer that keeps its weight in a narrow type."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype) -> None:
        """Narrows a weight float32 [out, in]."""
        with torch.device("meta"):
            super().__init__(weight.shape[1], weight.shape[0], bias is not None)
        narrow, self.scale = stored(weight, dtype)
        self.weight = nn.Parameter(narrow, requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 [..., in] → [..., out]."""
        product: torch.Tensor = _Product.apply(x, self.weight, self.scale)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias


class _Product(torch.autograd.Function):
    """x Wᵀ; for the gradient only the narrow weight is remembered."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.save_for_backward(weight)
        ctx.scale = scale
        return x @ _wide(weight, scale, x.dtype).T

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return gradients[0] @ _wide(weight, ctx.scale, gradients[0].dtype), None, None


def _wide(weight: torch.Tensor, scale: float, dtype: torch.dtype) -> torch.Tensor:
    wide = weight.to(dtype)
    return wide if scale == 1.0 else wide.mul_(scale)


def _int8_linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Module:
    from bitsandbytes import nn as bnb

    with torch.device("meta"):
        linear = bnb.Linear8bitLt(weight.shape[1], weight.shape[0], bias is not None, has_fp16_weights=False)
    linear.weight = bnb.Int8Params(weight, requires_grad=False, has_fp16_weights=False).to(weight.device)
    return _with_bias(linear, bias)


def _nf4_linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Module:
    from bitsandbytes import nn as bnb

    with torch.device("meta"):
        linear = bnb.Linear4bit(
            weight.shape[1], weight.shape[0], bias is not None, compute_dtype=torch.float32, quant_type="nf4"
        )
    linear.weight = bnb.Params4bit(weight, requires_grad=False, quant_type="nf4", module=linear).to(
        weight.device
    )
    # On some processors the first evaluation would repack the weight for inference, and no gradient passes it again.
    linear.support_avx512bf16_for_cpu = False
    return _with_bias(linear, bias)


def _with_bias(linear: nn.Module, bias: torch.Tensor | None) -> nn.Module:
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear
