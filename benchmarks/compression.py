"""Time and memory of compressing and exporting a checkpoint of polyglot-ko-1.3b's shape, with random weights.

Random weights are as much work as trained ones; nothing is said about quality here. The checkpoint takes 2.7 GB on
disk, the factors in progress as much again::

    python -m benchmarks.compression [--layers 24] [--method whitened|svd] [--tokens 8192] [--keep 0.5] [--bits 4]

The last line is one JSON object. The bar: 15 minutes and 8 GB for all 24 layers on two cores.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.generation import processor
from compression.language.compress import Method, compress
from compression.language.export import export
from compression.language.layout import LINEARS, linear_name
from compression.language.tensors import write_tensors

HIDDEN, HEADS, VOCAB = 2048, 16, 30_080
_MAX_SECONDS, _MAX_BYTES = 15 * 60, 8e9


def polyglot_config(layers: int) -> dict[str, object]:
    """The configuration of polyglot-ko-1.3b, but for the number of layers."""
    return {
        "architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "vocab_size": VOCAB,
        "hidden_size": HIDDEN, "num_attention_heads": HEADS, "num_hidden_layers": layers,
        "intermediate_size": 4 * HIDDEN, "max_position_embeddings": 2048, "rotary_pct": 0.5,
        "use_parallel_residual": True, "tie_word_embeddings": False, "eos_token_id": 2, "hidden_act": "gelu",
    }  # fmt: skip


def shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors."""
    sizes = dict(zip(LINEARS, ((3, 1), (1, 1), (4, 1), (1, 4)), strict=True))
    found: dict[str, tuple[int, ...]] = {"gpt_neox.embed_in.weight": (VOCAB, HIDDEN)}
    for block in range(layers):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            found |= {f"{linear_name(block, norm)}.{part}": (HIDDEN,) for part in ("weight", "bias")}
        for linear, (rows, columns) in sizes.items():
            found[f"{linear_name(block, linear)}.weight"] = (rows * HIDDEN, columns * HIDDEN)
            found[f"{linear_name(block, linear)}.bias"] = (rows * HIDDEN,)
    found |= {f"gpt_neox.final_layer_norm.{part}": (HIDDEN,) for part in ("weight", "bias")}
    return {**found, "embed_out.weight": (VOCAB, HIDDEN)}


def tensors(layers: int) -> Iterator[tuple[str, np.ndarray]]:
    """Random elements for `shapes`: norms of one, other weights of 0.02."""
    chooser = np.random.default_rng(0)
    for name, shape in shapes(layers).items():
        if name.endswith("norm.weight"):
            yield name, np.ones(shape, np.float32)
        else:
            yield name, chooser.standard_normal(shape, np.float32) * np.float32(0.02)


def write_random(folder: Path, layers: int) -> None:
    """A checkpoint in float16 with a tokenizer of made-up words."""
    folder.mkdir(parents=True)
    write_tensors(folder / "model.safetensors", shapes(layers), tensors(layers), np.float16)
    (folder / "config.json").write_text(json.dumps(polyglot_config(layers)), encoding="utf-8")
    tokenizer = Tokenizer(models.WordLevel({f"w{number}": number for number in range(VOCAB)}))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))


def write_calibration(file: Path, tokens: int) -> None:
    """As many words as the calibration takes."""
    words = np.random.default_rng(1).integers(0, VOCAB, (tokens // 64, 64))
    file.write_text("\n".join(" ".join(f"w{word}" for word in row) for row in words), encoding="utf-8")


def peak_bytes() -> int:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Measure, print a table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--method", choices=list(Method), default=Method.whitened.value)
    parser.add_argument("--tokens", type=int, default=8192, help="of calibration")
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--bits", type=int, choices=(4, 8), default=4)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        write_random(folder / "dense", arguments.layers)
        write_calibration(folder / "calibration.txt", arguments.tokens)
        began = time.perf_counter()
        calibration = folder / "calibration.txt"
        method = Method(arguments.method)
        report = compress(
            folder / "dense", folder / "small", arguments.keep, method, calibration, tokens=arguments.tokens
        )
        compressed = time.perf_counter()
        out = export(folder / "small", folder / "onnx", arguments.bits)
        exported = time.perf_counter()
        bytes_out = sum(file.stat().st_size for file in out.glob("model.onnx*"))
    within = exported - began <= _MAX_SECONDS and peak_bytes() <= _MAX_BYTES
    result = {
        "benchmark": "compression",
        "processor": processor(),
        "cores": len(psutil.Process().cpu_affinity()),
        "load_average": round(psutil.getloadavg()[0], 2),
        "layers": arguments.layers,
        "method": arguments.method,
        "calibration_tokens": report.calibration_tokens,
        "keep": arguments.keep,
        "bits": arguments.bits,
        "linear_parameters": [report.dense_parameters, report.parameters],
        "checkpoint_bytes": [report.bytes_before, report.bytes_after],
        "exported_bytes": bytes_out,
        "compress_s": round(compressed - began, 1),
        "export_s": round(exported - compressed, 1),
        "seconds": round(exported - began, 1),
        "processor_s": round(time.process_time(), 1),
        "peak_gb": round(peak_bytes() / 1e9, 2),
        # The bar is for the whole model.
        "within_bar": within if arguments.layers >= 24 else None,
    }
    for name, value in result.items():
        print(f"{name:>20}  {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
