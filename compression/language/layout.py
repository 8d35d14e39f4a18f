"""Which tensors a GPT-NeoX checkpoint must have, so that a long job fails in its first second or not for them."""

from __future__ import annotations

from compression.errors import ModelCorruptError, UnsupportedModelError
from compression.language.neox import NeoXConfig
from compression.language.weights import Checkpoint

LINEARS = (
    "attention.query_key_value",
    "attention.dense",
    "mlp.dense_h_to_4h",
    "mlp.dense_4h_to_h",
)
"""The linear layers of a block, in the order in which they are written."""

Shape = tuple[int, ...]


def linear_name(block: int, linear: str) -> str:
    """The full name of a block's linear layer, without ``.weight``."""
    return f"gpt_neox.layers.{block}.{linear}"


def dense_shapes(checkpoint: Checkpoint) -> dict[str, Shape]:
    """The tensors that belong to a dense checkpoint, by name, as its headers give them.

    Buffers that older files carry (causal masks, rotary frequencies) are left out.

    Raises:
        UnsupportedModelError: another architecture, or linears that are factorised already.
        ModelCorruptError: a tensor is missing or has another shape than the configuration says.
    """
    config = NeoXConfig.from_dict(checkpoint.config)
    found = checkpoint.shapes
    if any(name.endswith(".down.weight") for name in found):
        raise UnsupportedModelError("이미 압축한 모델이에요.", "압축하기 전의 체크포인트를 골라 주세요.")
    wanted = _wanted(config, checkpoint.config.get("attention_bias", True))
    width = found.get(f"{linear_name(0, LINEARS[2])}.bias", (0,))[0]
    for name, pattern in wanted.items():
        shape = tuple(width if length is None else length for length in pattern)
        if name not in found or found[name] != shape:
            raise ModelCorruptError(
                f"체크포인트에 가중치가 없거나 크기가 달라요: {name}", "체크포인트를 다시 받아 주세요."
            )
    return {name: found[name] for name in wanted}


def _wanted(config: NeoXConfig, attention_bias: bool) -> dict[str, tuple[int | None, ...]]:
    """Names and shapes; None stands for the feed-forward width, which the configuration need not name."""
    hidden, table = config.hidden, (config.vocab_size, config.hidden)
    wanted: dict[str, tuple[int | None, ...]] = {"gpt_neox.embed_in.weight": table}
    outputs: dict[str, int | None] = {
        "query_key_value": 3 * hidden,
        "dense": hidden,
        "dense_h_to_4h": None,
        "dense_4h_to_h": hidden,
    }
    for block in range(config.layers):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            wanted |= {f"{linear_name(block, norm)}.{part}": (hidden,) for part in ("weight", "bias")}
        for linear in LINEARS:
            name, kind = linear_name(block, linear), linear.partition(".")[2]
            wanted[f"{name}.weight"] = (outputs[kind], None if kind == "dense_4h_to_h" else hidden)
            if attention_bias or linear.startswith("mlp"):
                wanted[f"{name}.bias"] = (outputs[kind],)
    wanted |= {f"gpt_neox.final_layer_norm.{part}": (hidden,) for part in ("weight", "bias")}
    return wanted if config.tied else {**wanted, "embed_out.weight": table}
