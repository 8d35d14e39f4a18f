"""GPT-NeoX's configuration and the order of its attention's rows.

GPT-NeoX stores QKV as [head, (q, k, v), head_dim]; ONNX Runtime's ``GroupQueryAttention`` wants
[(q, k, v), head, head_dim], so the rows are reordered once, when the graph is written. The operator rotates
multiples of 16 dimensions only: a smaller rotary part is padded to that with pairs of angle 0, taken from the
dimensions that stay as they are. Queries and keys are permuted alike, which leaves their products unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compression.errors import UnsupportedModelError

ACTIVATIONS = {
    "gelu": "BiasGelu",
    "gelu_fast": "FastGelu",
    "gelu_new": "FastGelu",
    "gelu_pytorch_tanh": "FastGelu",
}
"""``hidden_act`` → the operator that adds a bias and applies it: exact, or the tanh approximation."""

_ROTARY_PAIRS = 8  # the attention operator's granularity


@dataclass(frozen=True)
class NeoXConfig:
    """What the graph needs of a GPT-NeoX ``config.json``; names are that file's."""

    layers: int
    heads: int
    hidden: int
    vocab_size: int
    max_length: int
    rotary_dim: int
    rotary_base: float
    epsilon: float
    activation: str
    parallel_residual: bool
    tied: bool

    @property
    def head_dim(self) -> int:
        """Dimensions of one head."""
        return self.hidden // self.heads

    @property
    def rotary_pairs(self) -> int:
        """Rotated pairs of dimensions, padded to what the operator takes."""
        return -(-self.rotary_dim // (2 * _ROTARY_PAIRS)) * _ROTARY_PAIRS

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> NeoXConfig:
        """Read a ``config.json`` of transformers, before or after its version 5.

        Raises:
            UnsupportedModelError: another architecture, or a variant that the graph cannot express.
        """
        if config.get("model_type") != "gpt_neox":
            raise _unsupported(f"model_type={config.get('model_type')}")
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        try:
            head_dim = config["hidden_size"] // config["num_attention_heads"]
            rotary_share = config.get("rotary_pct", rope.get("partial_rotary_factor", 0.25))
            neox = cls(
                layers=int(config["num_hidden_layers"]),
                heads=int(config["num_attention_heads"]),
                hidden=int(config["hidden_size"]),
                vocab_size=int(config["vocab_size"]),
                max_length=int(config["max_position_embeddings"]),
                rotary_dim=int(head_dim * rotary_share),
                rotary_base=float(config.get("rotary_emb_base", rope.get("rope_theta", 10_000))),
                epsilon=float(config.get("layer_norm_eps", 1e-5)),
                activation=str(config.get("hidden_act", "gelu")),
                parallel_residual=bool(config.get("use_parallel_residual", True)),
                tied=bool(config.get("tie_word_embeddings", False)),
            )
        except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
            raise _unsupported("config.json") from error
        if rope.get("rope_type", rope.get("type", "default")) != "default":
            raise _unsupported("rope_type")
        neox._check()
        return neox

    def _check(self) -> None:
        if min(self.layers, self.vocab_size, self.max_length) < 1:
            raise _unsupported("config.json")
        if self.hidden % self.heads or self.head_dim % 16:
            raise _unsupported(f"head_dim={self.hidden / self.heads:g}")
        if self.rotary_dim % 2 or not 0 < self.rotary_pairs <= self.head_dim // 2:
            raise _unsupported(f"rotary_dim={self.rotary_dim}")
        if self.activation not in ACTIVATIONS:
            raise _unsupported(f"hidden_act={self.activation}")


def qkv_order(config: NeoXConfig) -> NDArray[np.int64]:
    """The checkpoint's QKV rows in the operator's order: int64 [3 * hidden]."""
    rows = np.arange(3 * config.hidden).reshape(config.heads, 3, config.head_dim)
    order = _rotary_order(config)
    queries, keys, values = rows[:, 0, order], rows[:, 1, order], rows[:, 2]
    return np.concatenate([part.reshape(-1) for part in (queries, keys, values)])


def _rotary_order(config: NeoXConfig) -> NDArray[np.int64]:
    """Dimensions of a head so that pair j is (j, j + rotary_pairs): rotated pairs, still ones, the rest."""
    half = config.rotary_dim // 2
    padding = config.rotary_pairs - half
    first, second = np.arange(half), np.arange(half, 2 * half)
    still = np.arange(2 * half, config.head_dim)
    return np.concatenate(
        [first, still[:padding], second, still[padding : 2 * padding], still[2 * padding :]]
    )


def _unsupported(what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"지원하지 않는 모델이에요({what}).", "GPT-NeoX 구조(polyglot-ko 등)의 체크포인트를 골라 주세요."
    )
