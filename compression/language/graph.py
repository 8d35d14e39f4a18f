"""Writes the GPT-NeoX decoder as an ONNX graph, straight from a checkpoint, layer by layer.

Nothing is traced, so torch is not needed and a checkpoint never has to fit in memory. Beside ONNX's own
operators it uses ONNX Runtime's: ``GroupQueryAttention`` (packed QKV, rotary embedding, causal mask and a KV
cache that is written in place when past and present are bound to one buffer), ``SkipLayerNormalization``,
``BiasGelu``, ``MatMulNBits`` (``accuracy_level`` 4 quantises activations to int8: the fast kernels) and
``GatherBlockQuantized``.

Inputs:
    input_ids: int64 [batch, sequence].
    logit_rows: int64 [rows], positions within ``sequence`` whose logits are wanted. After the last attention
        only these rows are computed, because the head costs as much as several layers.
    seqlens_k: int32 [batch], length of each sequence with ``input_ids``, minus one.
    total_sequence_length: int32 [], the longest such length.
    past_key_values.{i}.key / .value: float32 [batch, heads, capacity, head_dim].
Outputs:
    logits: float32 [batch, rows, vocab].
    present.{i}.key / .value: like the past; bind them to the past's own buffers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from compression.language.neox import ACTIVATIONS, NeoXConfig, qkv_order
from compression.language.weights import Checkpoint
from compression.language.writer import CONTRIB, DATA_FILE, GraphWriter
from compression.methods.quantization import BLOCK, QuantizedMatrix, quantize

Floats = NDArray[np.float32]


def write_decoder(checkpoint: Checkpoint, folder: Path, bits: int, max_length: int | None = None) -> int:
    """Write ``model.onnx`` and its data.

    Args:
        checkpoint: weights named as transformers' GPTNeoXForCausalLM; any linear ``X`` may be the pair
            ``X.down.weight`` [rank, in] and ``X.up.weight`` [out, rank] instead of ``X.weight``.
        folder: existing folder that receives the two files.
        bits: 32 (as it is), 8 or 4. A tied head stays at 8 bits with 4: its table is also
            the output classifier, where errors show most.
        max_length: positions to allow, at most the checkpoint's own.

    Returns:
        Bytes of weights that one decoding step reads.

    Raises:
        UnsupportedModelError: a variant of GPT-NeoX that the graph cannot express.
        ModelCorruptError: a tensor is missing.
        ValueError: ``bits`` is not 32, 8 or 4.
    """
    if bits not in (32, 8, 4):
        raise ValueError(f"bits must be 32, 8 or 4, not {bits}")
    config = NeoXConfig.from_dict(checkpoint.config)
    with (folder / DATA_FILE).open("wb") as data:
        graph = GraphWriter(data, bits)
        _Decoder(checkpoint, config, graph).write(min(max_length or config.max_length, config.max_length))
    onnx.save_model(graph.model(), folder / "model.onnx")
    return graph.bytes_per_token


class _Decoder:
    """The decoder's nodes in order, from the embedding to the head."""

    def __init__(self, checkpoint: Checkpoint, config: NeoXConfig, graph: GraphWriter) -> None:
        self._checkpoint = checkpoint
        self._config = config
        self._graph = graph
        self._table: QuantizedMatrix | None = None  # the embedding, when the head shares it

    def write(self, max_length: int) -> None:
        self._inputs()
        self._rotary(max_length)
        residual = self._embed()
        normed = self._layer_norm(residual, self._layer(0, "input_layernorm"))
        for layer in range(self._config.layers):
            normed, residual = self._block(layer, normed, residual)
        self._head(normed)

    def _inputs(self) -> None:
        graph = self._graph
        graph.input("input_ids", TensorProto.INT64, ["batch", "sequence"])
        graph.input("logit_rows", TensorProto.INT64, ["rows"])
        graph.input("seqlens_k", TensorProto.INT32, ["batch"])
        graph.input("total_sequence_length", TensorProto.INT32, [])
        graph.output("logits", ["batch", "rows", self._config.vocab_size])

    def _rotary(self, max_length: int) -> None:
        """Su et al. 2021: angle of pair j at position p is p / base^(2j / rotary_dim)."""
        config = self._config
        exponents = np.arange(0, config.rotary_dim, 2, dtype=np.float32) / np.float32(config.rotary_dim)
        frequencies = (1.0 / np.float32(config.rotary_base) ** exponents).astype(np.float32)
        padded = np.pad(frequencies, (0, config.rotary_pairs - len(frequencies)))
        angles = np.outer(np.arange(max_length, dtype=np.float32), padded)
        self._graph.constant("cos", np.cos(angles), read_each_step=False)
        self._graph.constant("sin", np.sin(angles), read_each_step=False)

    def _embed(self) -> str:
        name, graph = "gpt_neox.embed_in", self._graph
        table = self._checkpoint[f"{name}.weight"]
        if graph.bits == 32:
            # A tied head reads the whole table; a lookup reads one row.
            constant = graph.constant(f"{name}.weight", table, read_each_step=self._config.tied)
            return graph.node("Gather", [constant, "input_ids"], "embedding")
        matrix = quantize(table, 8)
        packed, scales = graph.quantized_constants(name, matrix, read_each_step=self._config.tied)
        # The lookup reads the head's own packed table, seen as [vocab, blocks, block] with one scale a block.
        axes = graph.constant("last_axis", np.array([-1]))
        block_scales = graph.node("Unsqueeze", [scales, axes], f"{name}.block_scales")
        rows = graph.node(
            "GatherBlockQuantized",
            [packed, "input_ids", block_scales],
            "embedding.blocks",
            CONTRIB,
            gather_axis=0,
            quantize_axis=2,
            block_size=BLOCK,
            bits=8,
        )
        if self._config.tied:
            self._table = matrix
        return self._join_blocks(rows)

    def _join_blocks(self, blocks: str) -> str:
        graph, hidden = self._graph, self._config.hidden
        joined = graph.node(
            "Reshape", [blocks, graph.constant("joined_shape", np.array([0, 0, -1]))], "embedding.joined"
        )
        if hidden % BLOCK == 0:
            return joined
        ends = [graph.constant("slice_start", np.array([0])), graph.constant("slice_end", np.array([hidden]))]
        return graph.node("Slice", [joined, *ends, "last_axis"], "embedding")

    def _block(self, layer: int, normed: str, residual: str) -> tuple[str, str]:
        """One layer, then the next layer's (or the final) layer norm: (normed, residual)."""
        attention = self._attention(layer, normed)
        if layer == self._config.layers - 1:
            attention = self._graph.node("Gather", [attention, "logit_rows"], "attention.rows", axis=1)
            residual = self._graph.node("Gather", [residual, "logit_rows"], "residual.rows", axis=1)
        attended = self._linear(attention, self._layer(layer, "attention.dense"))
        attention_bias = self._optional(self._layer(layer, "attention.dense.bias"))
        mlp_bias = self._checkpoint[self._layer(layer, "mlp.dense_4h_to_h.bias")]
        mlp_norm = self._layer(layer, "post_attention_layernorm")
        last = layer == self._config.layers - 1
        next_norm = "gpt_neox.final_layer_norm" if last else self._layer(layer + 1, "input_layernorm")
        if self._config.parallel_residual:
            written = self._mlp(layer, self._layer_norm(residual, mlp_norm))
            both = self._graph.node("Add", [attended, written], self._layer(layer, "branches"))
            bias = mlp_bias if attention_bias is None else mlp_bias + attention_bias
            return self._add_and_norm(both, residual, next_norm, bias)
        normed, residual = self._add_and_norm(attended, residual, mlp_norm, attention_bias)
        return self._add_and_norm(self._mlp(layer, normed), residual, next_norm, mlp_bias)

    def _attention(self, layer: int, normed: str) -> str:
        config, graph = self._config, self._graph
        name = self._layer(layer, "attention.query_key_value")
        bias = self._optional(f"{name}.bias")
        order = qkv_order(config)
        packed = self._linear(normed, name, None if bias is None else bias[order], order)
        shape: list[int | str] = ["batch", config.heads, "capacity", config.head_dim]
        past = [
            graph.input(f"past_key_values.{layer}.{kind}", TensorProto.FLOAT, shape)
            for kind in ("key", "value")
        ]
        present = [graph.output(f"present.{layer}.{kind}", shape) for kind in ("key", "value")]
        return graph.node(
            "GroupQueryAttention",
            [packed, "", "", *past, "seqlens_k", "total_sequence_length", "cos", "sin"],
            [self._layer(layer, "attention"), *present],
            CONTRIB,
            num_heads=config.heads,
            kv_num_heads=config.heads,
            do_rotary=1,
            rotary_interleaved=0,
        )

    def _mlp(self, layer: int, normed: str) -> str:
        wide = self._layer(layer, "mlp.dense_h_to_4h")
        bias = self._graph.constant(f"{wide}.bias", self._checkpoint[f"{wide}.bias"])
        product = self._linear(normed, wide)
        activated = self._graph.node(
            ACTIVATIONS[self._config.activation], [product, bias], f"{wide}.activated", CONTRIB
        )
        return self._linear(activated, self._layer(layer, "mlp.dense_4h_to_h"))

    def _linear(
        self, x: str, name: str, bias: Floats | None = None, order: NDArray[np.int64] | None = None
    ) -> str:
        """A dense or factorised linear layer whose output rows come in ``order``."""
        rows = slice(None) if order is None else order
        if f"{name}.weight" in self._checkpoint:
            return self._graph.matmul(x, name, self._checkpoint[f"{name}.weight"][rows], bias)
        inner = self._graph.matmul(x, f"{name}.down", self._checkpoint[f"{name}.down.weight"])
        return self._graph.matmul(inner, f"{name}.up", self._checkpoint[f"{name}.up.weight"][rows], bias)

    def _head(self, normed: str) -> None:
        graph = self._graph
        if not self._config.tied:
            product = self._linear(normed, "embed_out")
            graph.node("Identity", [product], "logits")
        elif self._table is None:
            transposed = graph.node("Transpose", ["gpt_neox.embed_in.weight"], "head", perm=[1, 0])
            graph.node("MatMul", [normed, transposed], "logits")
        else:
            graph.matmul_quantized(normed, "gpt_neox.embed_in", self._table, output="logits")

    def _layer_norm(self, x: str, name: str) -> str:
        return self._graph.node(
            "LayerNormalization", [x, *self._gain(name)], f"{name}.normed", epsilon=self._config.epsilon
        )

    def _add_and_norm(self, x: str, residual: str, name: str, bias: Floats | None) -> tuple[str, str]:
        """(layer norm of x + bias + residual, that sum)."""
        total = f"{name}.residual"
        inputs = [x, residual, *self._gain(name)]
        if bias is not None:
            inputs.append(self._graph.constant(f"{name}.added_bias", bias))
        normed = self._graph.node(
            "SkipLayerNormalization",
            inputs,
            [f"{name}.normed", "", "", total],
            CONTRIB,
            epsilon=self._config.epsilon,
        )
        return normed, total

    def _gain(self, name: str) -> list[str]:
        return [
            self._graph.constant(f"{name}.{part}", self._checkpoint[f"{name}.{part}"])
            for part in ("weight", "bias")
        ]

    def _layer(self, layer: int, part: str) -> str:
        return f"gpt_neox.layers.{layer}.{part}"

    def _optional(self, name: str) -> Floats | None:
        return self._checkpoint[name] if name in self._checkpoint else None
