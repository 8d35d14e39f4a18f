"""Starts a decoder with an induction circuit in its first two layers, instead of waiting for one to form.

A grounded answer is mostly copied, and copying is the work of induction heads: a head that looks for where
the present token stood before and hands on what followed it (Elhage et al., "A Mathematical Framework for
Transformer Circuits", 2021; Olsson et al., "In-context Learning and Induction Heads", 2022). In training
from nothing they appear only after far more tokens than a CPU can afford. Here they are written into the
weights:

- layer 0, heads 0 and 1 attend to the token one and two positions back, by rotary biases alone, and write a
  code of it into directions that the embeddings hardly use;
- every head of layer 1 compares the code of the present token with the code of the token before each
  position (and the one before with the one two before), and copies its slice of the token found there, so
  that the heads together copy the whole embedding, which the tied output head reads as that token.

All output projections start at zero otherwise, so that nothing drowns the circuit. Training goes on from
there; all of it stays ordinary weights.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import GPTNeoXForCausalLM

_SHARPNESS = 6.0
"""Score by which the wanted position wins over its neighbours in layer 0."""
_PREVIOUS, _MATCH, _COPY = 1.0, 40.0, 12.0
"""Size of the written codes, of a matching code's score and of the copied embedding, by trial."""


def seed_induction(model: GPTNeoXForCausalLM, seed: int = 0) -> None:
    """Writes the circuit into a fresh model in place.

    Args:
        model: a GPT-NeoX decoder with at least two layers and two heads, a tied head, and its embeddings set.
        seed: of the random codes.
    """
    import torch

    with torch.no_grad():
        for layer in model.gpt_neox.layers:
            layer.attention.dense.weight.zero_()
            layer.mlp.dense_4h_to_h.weight.zero_()
        circuit = _Circuit(model, torch.Generator().manual_seed(seed))
        circuit.write_previous_token_heads()
        circuit.write_induction_heads()


class _Circuit:
    """The circuit's directions in the residual stream, and the two layers it is written to."""

    def __init__(self, model: GPTNeoXForCausalLM, generator: torch.Generator) -> None:
        import torch

        config, table = model.config, model.get_input_embeddings().weight
        self.model, self.generator = model, generator
        self.hidden, self.heads = config.hidden_size, config.num_attention_heads
        self.width = self.hidden // self.heads
        self.rotary = int(self.width * config.rope_parameters["partial_rotary_factor"])
        self.rms = float(table.pow(2).mean().sqrt())
        # Principal directions of the embeddings: the first tell tokens apart, the last are nearly free.
        self.basis = torch.linalg.svd(table - table.mean(0), full_matrices=False)[2]
        leading = self.basis[: max(self.hidden - 2 * self.width, self.width)]
        mix = torch.linalg.qr(torch.randn(len(leading), self.width, generator=generator))[0]
        self.code = (leading.T @ mix).T
        self.one_back = self.basis[self.hidden - 2 * self.width : self.hidden - self.width]
        self.two_back = self.basis[self.hidden - self.width :]

    def write_previous_token_heads(self) -> None:
        """Layer 0: biases whose score Σ cos(θ(Δ − d)) peaks at distance d; the value is the token's code."""
        import torch

        weight, bias, out = self._parts(0)
        half = self.rotary // 2
        theta = self.model.config.rope_parameters["rope_theta"] ** -(torch.arange(half) / half)
        size = math.sqrt(_SHARPNESS * math.sqrt(self.width) / float((1 - theta.cos()).sum()))
        for head, (distance, written) in enumerate(((1, self.one_back), (2, self.two_back))):
            weight[head].zero_()
            bias[head].zero_()
            bias[head, 0, :half] = size * (theta * distance).cos()
            bias[head, 0, half : self.rotary] = -size * (theta * distance).sin()
            bias[head, 1, :half] = size
            weight[head, 2] = self.code
            out[:, head] = written.T * (_PREVIOUS * self.rms * math.sqrt(self.hidden / self.width))

    def write_induction_heads(self) -> None:
        """Layer 1: present against one-back code, that against two-back; the value is a basis slice."""
        import torch

        weight, bias, out = self._parts(1)
        room = self.width - self.rotary
        split = room * 5 // 8
        size = math.sqrt(_MATCH * math.sqrt(self.width) / room)
        for head in range(self.heads):
            order = torch.randperm(self.width, generator=self.generator)
            first, second = order[:split], order[split:room]
            weight[head].zero_()
            bias[head].zero_()
            weight[head, 0, self.rotary : self.rotary + split] = self.code[first] * size
            weight[head, 1, self.rotary : self.rotary + split] = self.one_back[first] * size
            weight[head, 0, self.rotary + split :] = self.one_back[second] * size
            weight[head, 1, self.rotary + split :] = self.two_back[second] * size
            piece = self.basis[head * self.width : (head + 1) * self.width]
            weight[head, 2] = piece
            out[:, head] = piece.T * (_COPY * self.rms)

    def _parts(self, layer: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Views [heads, 3, width, hidden], [heads, 3, width], [hidden, heads, width] of the attention."""
        attention = self.model.gpt_neox.layers[layer].attention
        shape = (self.heads, 3, self.width)
        return (
            attention.query_key_value.weight.view(*shape, self.hidden),
            attention.query_key_value.bias.view(*shape),
            attention.dense.weight.view(self.hidden, self.heads, self.width),
        )
