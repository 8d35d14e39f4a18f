"""A small transformer over the static encoder's rows, in PyTorch: teacher and student. Training and export only.

Its arithmetic is that of T5's encoder (Raffel et al. 2020, arXiv:1910.10683: RMS norms before each part, no biases,
one learnt bias for every distance between tokens), so that its weights are also a plain sentence-transformers folder.
It starts as the static encoder: the parts that write are zero, and a constant coordinate, the ballast, keeps the
norms from levelling the rows, whose lengths are the weights of subwords. What training adds is order and context.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from agents.contextual import LONGEST
from agents.encoder import Encoder

BALLAST = 8.0
_BUCKETS, _FARTHEST = 32, 128
_EPSILON = 1e-6
_MASKED = -1e4
_BESIDE_BALLAST = 0.2  # what the norms leave of the ballast, which serves as the bias that T5 has not


@dataclass(frozen=True)
class Shape:
    """Sizes of a model.

    Attributes:
        width: of the stream, the ballast included; a multiple of ``heads``.
        heads: of the attention.
        layers: blocks; none is a static encoder.
        inner: width of the feed-forward part.
        dimension: of the sentence vector; a linear map leads there when it is not ``width``.
    """

    width: int = 256
    heads: int = 4
    layers: int = 3
    inner: int = 768
    dimension: int = 256


class _Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attention_norm, self.mlp_norm = (nn.Parameter(_gains(shape.width)) for _ in range(2))
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        self.up = nn.Linear(shape.width, shape.inner, bias=False)
        self.down = nn.Linear(shape.inner, shape.width, bias=False)
        with torch.no_grad():
            self.qkv.weight.normal_(0, shape.width**-0.5)
            # T5 does not divide by the root of a head's width, so the queries are that much shorter.
            self.qkv.weight[: shape.width] *= (shape.width / shape.heads) ** -0.5
            self.up.weight.normal_(0, shape.width**-0.5)
            self.out.weight.zero_()
            self.down.weight.zero_()

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        rows, length, width = x.shape
        qkv = self.qkv(rms_norm(x, self.attention_norm)).view(rows, length, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, width))
        changed: Tensor = self.down(F.relu(self.up(rms_norm(x, self.mlp_norm))))
        return x + changed


class SentenceModel(nn.Module):
    """Subwords to sentence vectors.

    Args:
        rows: float32 [vocabulary, width − 1], static vectors; row 0 is the unknown subword and stays zero.
        shape: sizes.
    """

    def __init__(self, rows: Tensor, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.rows = nn.Embedding(rows.shape[0], rows.shape[1], padding_idx=0)
        with torch.no_grad():
            self.rows.weight[1:] = rows[1:]
        self.distances = nn.Embedding(_BUCKETS, shape.heads)
        nn.init.zeros_(self.distances.weight)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.cat([torch.ones(shape.width - 1), torch.zeros(1)]))
        self.norm.requires_grad_(bool(shape.layers))  # a static encoder has rows alone
        self.project: nn.Module = nn.Identity()
        if shape.width != shape.dimension:
            self.project = nn.Linear(shape.width, shape.dimension, bias=False)
            nn.init.eye_(self.project.weight)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Sentence vectors.

        Args:
            ids: int64 [n, length].
            mask: bool [n, length], False at padding.

        Returns:
            float32 [n, dimension], rows of length 1.
        """
        return self.read(self.rows(ids), self.distance_bias(ids.shape[1]), mask.to(torch.float32))

    def read(self, vectors: Tensor, distances: Tensor, mask: Tensor) -> Tensor:
        """`forward` from rows [n, length, width − 1], distances [1, heads, length, length] and a float mask."""
        x = torch.cat([vectors, torch.full_like(vectors[..., :1], BALLAST)], -1)
        bias = distances + (1 - mask)[:, None, None, :] * _MASKED
        for block in self.blocks:
            x = block(x, bias)
        x = rms_norm(x, self.norm)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        vector: Tensor = F.normalize(self.project(mean), dim=1)
        return vector

    def distance_bias(self, length: int) -> Tensor:
        """The attention's bias for each pair of places, float32 [1, heads, length, length]."""
        places = torch.arange(length)
        buckets = bucket(places[None, :] - places[:, None])
        bias: Tensor = self.distances(buckets).permute(2, 0, 1)[None]
        return bias

    @torch.no_grad()
    def encode(self, tokens: Sequence[NDArray[np.int64]], batch: int = 128) -> NDArray[np.float32]:
        """Vectors of many texts given as ids, float32 [n, dimension]; an empty one gives zeros."""
        vectors = np.zeros((len(tokens), self.shape.dimension), np.float32)
        order = sorted((n for n in range(len(tokens)) if len(tokens[n])), key=lambda n: len(tokens[n]))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            vectors[chosen] = self(*padded([tokens[n] for n in chosen])).numpy()
        return vectors


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    """Divide by the root of the mean square, times a gain (Zhang & Sennrich 2019, arXiv:1910.07467)."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + _EPSILON) * gain


def _gains(width: int) -> Tensor:
    """Norms after which a row of length 1 has elements of about 1, and the ballast is in proportion."""
    return torch.cat([torch.full((width - 1,), BALLAST), torch.full((1,), _BESIDE_BALLAST)])


def bucket(distances: Tensor) -> Tensor:
    """T5's bucket of a signed distance: exact when near, by logarithm when far (Raffel et al. 2020, 2.1)."""
    half = _BUCKETS // 2
    exact = half // 2
    far = distances.abs().clamp(min=1).float()
    logarithmic = exact + (torch.log(far / exact) / math.log(_FARTHEST / exact) * (half - exact)).long()
    near = distances.abs() < exact
    return (distances > 0) * half + torch.where(near, distances.abs(), logarithmic.clamp(max=half - 1))


def padded(tokens: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    """Ids and mask [n, longest]; only the first subwords of a long text are read."""
    length = min(LONGEST, max(map(len, tokens)))
    ids = torch.zeros(len(tokens), length, dtype=torch.int64)
    mask = torch.zeros(len(tokens), length, dtype=torch.bool)
    for row, each in enumerate(tokens):
        kept = torch.from_numpy(each[:length])
        ids[row, : len(kept)] = kept
        mask[row, : len(kept)] = True
    return ids, mask


def starting_rows(encoder: Encoder, width: int, sample: Sequence[str]) -> Tensor:
    """The encoder's rows in the leading directions of sentences, so that a prefix of a vector is a good vector.

    Args:
        encoder: static, with at least ``width − 1`` dimensions.
        width: of the model.
        sample: texts that show the directions and the usual length of a row, which becomes 1.

    Returns:
        float32 [vocabulary, width − 1].
    """
    vectors = encoder.encode(sample)
    _, axes = np.linalg.eigh(vectors.T @ vectors)
    rows = encoder.rows() @ axes[:, ::-1][:, : width - 1]
    used = np.concatenate(encoder.tokenize(sample))
    scale = np.linalg.norm(rows[used], axis=1).mean()
    return torch.from_numpy(np.ascontiguousarray(rows / max(float(scale), 1e-6), np.float32))


def save_sentence_transformer(model: SentenceModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a folder that ``sentence_transformers.SentenceTransformer(folder)`` loads, as T5's encoder.

    Args:
        model: at least one layer.
        tokenizer: subword 0 is the unknown one, and pads.
        folder: made when missing.
    """
    from safetensors.torch import save_file
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    shape = model.shape
    config = T5Config(
        vocab_size=len(model.rows.weight), d_model=shape.width, d_kv=shape.width // shape.heads, d_ff=shape.inner,
        num_layers=shape.layers, num_heads=shape.heads, relative_attention_num_buckets=_BUCKETS,
        relative_attention_max_distance=_FARTHEST, dropout_rate=0.0, layer_norm_epsilon=_EPSILON,
        feed_forward_proj="relu", pad_token_id=0, eos_token_id=0,
    )  # fmt: skip
    plain = T5EncoderModel(config)
    plain.load_state_dict(_as_t5(model), strict=False)
    plain.save_pretrained(folder)
    unknown = tokenizer.id_to_token(0)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=unknown, pad_token=unknown, model_max_length=LONGEST
    ).save_pretrained(folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    _write(folder / "sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False})
    pooling = {"word_embedding_dimension": shape.width, "pooling_mode_mean_tokens": True}
    _write(folder / "1_Pooling" / "config.json", pooling)
    if isinstance(model.project, nn.Linear):
        dense = {"in_features": shape.width, "out_features": shape.dimension, "bias": False}
        _write(
            folder / "2_Dense" / "config.json",
            {**dense, "activation_function": "torch.nn.modules.linear.Identity"},
        )
        weight = {"linear.weight": model.project.weight.detach().contiguous()}
        save_file(weight, folder / "2_Dense" / "model.safetensors")
        modules.append(("2_Dense", "Dense"))
    modules.append((f"{len(modules)}_Normalize", "Normalize"))
    listed: list[dict[str, Any]] = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{name}"}
        for n, (path, name) in enumerate(modules)
    ]
    (folder / modules[-1][0]).mkdir(exist_ok=True)
    _write(folder / "modules.json", listed)


def _as_t5(model: SentenceModel) -> dict[str, Tensor]:
    """The weights under the names that T5EncoderModel gives them."""
    rows = model.rows.weight.detach()
    shared = torch.cat([rows, torch.full((len(rows), 1), BALLAST)], 1)
    weights = {"shared.weight": shared, "encoder.embed_tokens.weight": shared}
    weights["encoder.final_layer_norm.weight"] = model.norm.detach()
    attention = "layer.0.SelfAttention"
    weights[f"encoder.block.0.{attention}.relative_attention_bias.weight"] = model.distances.weight.detach()
    for number, block in enumerate(model.blocks):
        assert isinstance(block, _Block)
        name = f"encoder.block.{number}"
        query, key, value = block.qkv.weight.detach().chunk(3)
        weights |= {
            f"{name}.{attention}.q.weight": query,
            f"{name}.{attention}.k.weight": key,
            f"{name}.{attention}.v.weight": value,
            f"{name}.{attention}.o.weight": block.out.weight.detach(),
            f"{name}.layer.0.layer_norm.weight": block.attention_norm.detach(),
            f"{name}.layer.1.DenseReluDense.wi.weight": block.up.weight.detach(),
            f"{name}.layer.1.DenseReluDense.wo.weight": block.down.weight.detach(),
            f"{name}.layer.1.layer_norm.weight": block.mlp_norm.detach(),
        }
    return weights


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
