"""The reader in PyTorch: training and export only.

A transformer encoder reads question, heading, sentence and its neighbours as one sequence of morphemes. Two things
let it learn from tens of thousands of questions instead of billions of words: it starts from morpheme vectors of
a language model (`compression.reading.vectors`), and its attention is biased by relations between tokens (Shaw et
al., 2018; Wang et al., 2020): the same form, a like meaning, close by. The candidates of one question then look at
each other, because the best of a list is easier to see than a good one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SEGMENTS = 7
"""0 is padding; see `assistant.reading.SEGMENTS` for the others."""
TAGS = 64
POSITIONS = 64
_RELATIONS = 3
_MATCHES = 7
_WINDOW = 2
_UNRELATED = 0.2
_MASKED = -1e4
_QUESTION, _HEADING, _SENTENCE, _BEFORE, _AFTER, _EARLIER = range(1, SEGMENTS)


class _Block(nn.Module):
    """Pre-norm transformer block whose attention adds a learnt weight of every relation and pair of segments."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.relations = nn.Parameter(torch.zeros(heads, _RELATIONS))
        self.segments = nn.Parameter(torch.zeros(heads, SEGMENTS * SEGMENTS))
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():  # half of the heads start by comparing, half by looking around
            self.relations[: heads // 2] = torch.tensor([3.0, 4.0, 0.0])
            self.relations[heads // 2 :, 2] = 2.0
            self.out.weight.mul_(0.5)
            self.down.weight.mul_(0.5)

    def forward(self, x: Tensor, relations: Tensor, pairs: Tensor, padding: Tensor) -> Tensor:
        rows, length, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        bias = (relations.unsqueeze(1) * self.relations[None, :, :, None, None]).sum(2)
        bias = bias + self.segments[:, pairs].transpose(0, 1) + padding
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        x = x + self.dropout(self.out(mixed.transpose(1, 2).reshape(rows, length, width)))
        changed: Tensor = self.down(F.gelu(self.up(self.mlp_norm(x)), approximate="tanh"))
        return torch.add(x, self.dropout(changed))


class ReaderModel(nn.Module):
    """Scores sentences of one or several questions.

    ``mean`` and ``deviation`` of the features are set before training.

    Args:
        dimension: of the morpheme vectors.
        features: how many numbers describe a candidate beside its words.
        width, heads, layers, dropout: of the transformer.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, dimension: int, features: int, width: int = 128, heads: int = 4, layers: int = 2, dropout: float = 0.15
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.metric = nn.Linear(dimension, dimension, bias=False)
        nn.init.eye_(self.metric.weight)
        self.project = nn.Linear(dimension, width)
        self.tag, self.segment = nn.Embedding(TAGS, width), nn.Embedding(SEGMENTS, width)
        self.position, self.matches = nn.Embedding(POSITIONS, width), nn.Linear(_MATCHES, width)
        for table in (self.tag, self.segment, self.position):
            nn.init.normal_(table.weight, std=0.1)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(layers))
        self.norm, self.mix = nn.LayerNorm(width), nn.Linear(4 * width + features, width)
        self.list_norm, self.list_out = nn.LayerNorm(width), nn.Linear(width, width)
        self.list_qkv, self.list_heads = nn.Linear(width, 3 * width), heads
        self.score = nn.Linear(width, 1)
        nn.init.normal_(self.score.weight, std=0.01)
        nn.init.zeros_(self.score.bias)
        self.prior = nn.Parameter(torch.tensor(1.0))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, vectors: Tensor, tags: Tensor, forms: Tensor, segments: Tensor, positions: Tensor, weights: Tensor,
        features: Tensor, prior: Tensor, places: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Scores; a question that no candidate answers wants all of them below 0.

        Args:
            vectors: float [rows, length, dimension], of the morphemes.
            tags: int64 [rows, length], parts of speech.
            forms: int64 [rows, length]; equal ones are the same word.
            segments: int64 [rows, length]; 0 pads.
            positions: int64 [rows, length], within the segment.
            weights: float [rows, length], rarity of the question's words.
            features: float [rows, features].
            prior: float [rows], score of the first stage.
            places: int64 [questions, candidates], which row a candidate is, in the rows' order; -1 pads. None when
                all rows are of one question.

        Returns:
            float [rows].
        """
        padding = segments == 0
        asked = (segments == _QUESTION) | (segments == _EARLIER)
        read = ~padding & ~asked
        meaning = F.normalize(self.metric(vectors), dim=-1, eps=1e-6)
        alike = (meaning @ meaning.transpose(1, 2) - _UNRELATED).clamp(min=0) / (1 - _UNRELATED)
        same = (forms[:, :, None] == forms[:, None, :]).to(alike.dtype)
        across = (asked[:, :, None] & read[:, None, :]) | (read[:, :, None] & asked[:, None, :])
        alike, same = torch.maximum(alike, same) * across, same * across
        order = torch.arange(segments.shape[1])
        near = ((order[:, None] - order[None]).abs() <= _WINDOW) & (
            segments[:, :, None] == segments[:, None, :]
        )
        relations = torch.stack([same, alike, near.to(alike.dtype)], 1)
        matches = torch.stack([*self._best(same, alike, segments), weights], -1)
        x = self.project(vectors) + self.tag(tags) + self.segment(segments) + self.matches(matches)
        x = self.dropout(x + self.position(positions.clamp(max=POSITIONS - 1)))
        pairs = segments[:, :, None] * SEGMENTS + segments[:, None, :]
        masked = padding.to(x.dtype)[:, None, None, :] * _MASKED
        for block in self.blocks:
            x = block(x, relations, pairs, masked)
        x = self.norm(x)
        described = ((features - self.mean) / self.deviation).clamp(-6, 6)
        pooled = [_mean(x, segments == part) for part in (_QUESTION, _SENTENCE, _HEADING)]
        row = F.gelu(self.mix(torch.cat([*pooled, x[:, 0], described], -1)), approximate="tanh")
        row = self._beside(self.dropout(row), places)
        scores: Tensor = self.prior * prior + self.score(row).squeeze(-1)
        return scores

    def _best(self, same: Tensor, alike: Tensor, segments: Tensor) -> list[Tensor]:
        """How well each token is met by the sentence, the heading, the neighbours and the question."""
        question, heading, sentence = (
            (segments == part)[:, None] for part in (_QUESTION, _HEADING, _SENTENCE)
        )
        around = ((segments == _BEFORE) | (segments == _AFTER))[:, None]
        met = [
            (same, sentence),
            (alike, sentence),
            (alike, heading),
            (alike, around),
            (same, question),
            (alike, question),
        ]
        return [(relation * part).amax(2) for relation, part in met]

    def _beside(self, row: Tensor, places: Tensor | None) -> Tensor:
        """Lets the candidates of a question look at each other (as in Set Transformer; Lee et al., 2019)."""
        normed = self.list_norm(row)
        listed = normed[None] if places is None else normed[places.clamp(min=0)]
        questions, most = listed.shape[:2]
        qkv = self.list_qkv(listed).view(questions, most, 3, self.list_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        absent = None if places is None else (places < 0).to(query.dtype)[:, None, None, :] * _MASKED
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=absent)
        seen = self.dropout(self.list_out(mixed.transpose(1, 2).reshape(questions, most, -1)))
        return torch.add(row, seen[0] if places is None else seen[places >= 0])


def _mean(x: Tensor, part: Tensor) -> Tensor:
    weight = part.to(x.dtype)
    return (x * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)


class Readers(nn.Module):
    """Several readers' mean score (a deep ensemble; Lakshminarayanan et al., 2017), of one question's candidates."""

    def __init__(self, readers: Sequence[ReaderModel]) -> None:
        super().__init__()
        self.readers = nn.ModuleList(readers)

    def forward(self, *inputs: Tensor) -> Tensor:
        """`ReaderModel.forward` without ``places``: float [rows]."""
        return torch.stack([reader(*inputs) for reader in self.readers]).mean(0)
