from __future__ import annotations

import errno
import itertools
import json
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from assistant import cli
from compression.errors import (
    DamsoError,
    ModelCorruptError,
    ModelError,
    ModelMissingError,
    TrainingDataError,
    UnsupportedModelError,
)
from compression.language import compress as module
from compression.language import decomposition
from compression.language.calibration import BlockWalk, Rows, read_texts, text_rows
from compression.language.compress import STATE, Allocation, Method, compress
from compression.language.compress_report import Report
from compression.language.export import export
from compression.language.factorised import load_model
from compression.language.layout import LINEARS, linear_name
from compression.language.source import checkpoint_folder
from compression.language.weights import Checkpoint
from compression.methods.svd import truncated_svd
from compression.runtime import session

WORDS = [
    "담소",
    "문서",
    "답",
    "질문",
    "은",
    "는",
    "이",
    "가",
    "를",
    "있다",
    "없다",
    "한다",
    "도서관",
    "시간",
    "열다",
]
RESULT = {
    "compression.json",
    "compression.md",
    "compression.png",
    "config.json",
    "model.safetensors",
    "tokenizer.json",
}
Make = Callable[..., GPTNeoXForCausalLM]


def write_tokenizer(folder: Path) -> None:
    vocabulary = {word: number for number, word in enumerate(["<|end|>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|end|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def make_polyglot(
    folder: Path, layers: int = 2, hidden: int = 32, vocab: int = 512, **save: Any
) -> GPTNeoXForCausalLM:
    """polyglot-ko's layout in little: sharded safetensors with an index, untied head, no token_type_ids."""
    torch.manual_seed(3)
    config = GPTNeoXConfig(
        vocab_size=vocab, hidden_size=hidden, num_attention_heads=2, num_hidden_layers=layers,
        intermediate_size=4 * hidden, max_position_embeddings=64, eos_token_id=0, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5},
    )  # fmt: skip
    model = GPTNeoXForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Rows of very different size: some inputs matter far more than others, as in trained models.
            if "embed_in" in name:
                parameter.normal_().mul_(torch.logspace(0, -2, hidden))
            elif parameter.ndim == 2:
                parameter.normal_(0, 0.2)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1)
    model.save_pretrained(folder, **{"max_shard_size": "40KB", **save})
    write_tokenizer(folder)
    return model


@pytest.fixture(scope="module")
def polyglot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("polyglot")
    make_polyglot(folder)
    return folder


@pytest.fixture
def copy(polyglot: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(polyglot, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def short_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALIBRATION_LENGTH", 24)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "글.txt"
    words = np.random.default_rng(0).choice(WORDS, 400)
    file.write_text("\n".join(" ".join(part) for part in np.array_split(words, 20)), encoding="utf-8")
    return file


def rows_of(text: Path, folder: Path) -> Rows:
    return text_rows(read_texts(text), Tokenizer.from_file(str(folder / "tokenizer.json")), 6, 24)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_plain_compression_is_the_truncated_svd(polyglot: Path, tmp_path: Path) -> None:
    assert len(list(polyglot.glob("model-*.safetensors"))) > 2
    out = tmp_path / "out"
    report = compress(polyglot, out, 0.5, Method.svd)
    assert names(out) == RESULT
    dense, factors = Checkpoint(polyglot), Checkpoint(out)
    assert report.parameters <= 0.5 * report.dense_parameters
    assert report.bytes_after == factors.nbytes < report.bytes_before
    for layer in report.layers:
        weight = dense[f"{layer.name}.weight"]
        if layer.rank is None:
            np.testing.assert_array_equal(factors[f"{layer.name}.weight"], weight)
            continue
        down, up = truncated_svd(weight, layer.rank)
        found = factors[f"{layer.name}.up.weight"] @ factors[f"{layer.name}.down.weight"]
        np.testing.assert_allclose(found, up @ down, atol=1e-4)
        lost = np.linalg.norm(weight - found) / np.linalg.norm(weight)
        assert layer.error == pytest.approx(lost, abs=1e-3)
    for name in ("gpt_neox.embed_in.weight", "embed_out.weight", "gpt_neox.layers.1.mlp.dense_4h_to_h.bias"):
        np.testing.assert_array_equal(factors[name], dense[name])


@pytest.mark.parametrize("allocation", Allocation)
def test_whitening_disturbs_the_outputs_less(
    polyglot: Path, text: Path, tmp_path: Path, allocation: Allocation
) -> None:
    rows = torch.from_numpy(rows_of(text, polyglot).ids)
    with torch.no_grad():
        wanted = load_model(polyglot)(rows).logits
        lost = {}
        for method in Method:
            compress(polyglot, tmp_path / method, 0.4, method, text, allocation)
            lost[method] = float((load_model(tmp_path / method)(rows).logits - wanted).norm())
    assert lost[Method.whitened] < 0.8 * lost[Method.svd]


def test_whitened_errors_are_those_of_the_outputs(polyglot: Path, text: Path, tmp_path: Path) -> None:
    report = compress(polyglot, tmp_path / "out", 0.4, Method.whitened, text)
    inputs = input_moments(polyglot, torch.from_numpy(rows_of(text, polyglot).ids))
    dense, factors = Checkpoint(polyglot), Checkpoint(tmp_path / "out")
    for layer, linear in zip(report.layers, LINEARS, strict=False):
        assert layer.name == linear_name(0, linear)
        weight = dense[f"{layer.name}.weight"]
        left = weight - factors[f"{layer.name}.up.weight"] @ factors[f"{layer.name}.down.weight"]
        lost, all_of_it = (np.trace(part @ inputs[linear] @ part.T) for part in (left, weight))
        assert layer.error == pytest.approx(np.sqrt(lost / all_of_it), rel=0.02, abs=1e-3)


def input_moments(folder: Path, ids: torch.Tensor) -> dict[str, np.ndarray]:
    """Σ x xᵀ of the first block's linear layers, seen in the whole model."""
    model, found = load_model(folder), {}

    def see(linear: str) -> Callable[..., None]:
        def add(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            x = inputs[0].flatten(0, 1).detach().numpy()
            found[linear] = x.T @ x

        return add

    for linear in LINEARS:
        model.gpt_neox.layers[0].get_submodule(linear).register_forward_pre_hook(see(linear))
    model(ids)
    return found


def test_the_walk_sees_what_the_model_sees(polyglot: Path) -> None:
    model = load_model(polyglot)
    ids = np.random.default_rng(1).integers(0, 512, (11, 9))
    counted = np.ones_like(ids, np.bool_)
    counted[3, 5:], counted[10, 1:] = False, False
    walk = BlockWalk(Checkpoint(polyglot), Rows(ids, counted))
    with torch.no_grad():
        states = model(torch.from_numpy(ids), output_hidden_states=True).hidden_states
    seen: list[torch.Tensor] = []
    model.gpt_neox.layers[1].mlp.dense_4h_to_h.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.no_grad():
        model(torch.from_numpy(ids))
    walk.through(0)
    np.testing.assert_allclose(walk.hidden, states[1].numpy(), atol=1e-5)
    moments = walk.through(1)
    wide = seen[0].numpy()[counted] @ model.gpt_neox.layers[1].mlp.dense_4h_to_h.weight.detach().numpy().T
    assert moments["mlp.dense_4h_to_h"].of_outputs
    np.testing.assert_allclose(moments["mlp.dense_4h_to_h"].matrix, wide.T @ wide, rtol=1e-3, atol=1e-3)
    tall = model.gpt_neox.layers[1].post_attention_layernorm(states[1]).detach().numpy()[counted]
    expected = tall.T @ tall
    ridge = 1e-4 * np.trace(expected) / len(expected) * np.eye(len(expected))
    found = moments["mlp.dense_h_to_4h"]
    assert not found.of_outputs
    np.testing.assert_allclose(found.matrix, expected + ridge, rtol=1e-3, atol=1e-3)


def test_the_result_is_exported_and_runs(polyglot: Path, tmp_path: Path) -> None:
    compress(polyglot, tmp_path / "out", 0.5, Method.svd)
    out = export(tmp_path / "out", tmp_path / "onnx", bits=4)
    assert session(out / "model.onnx").get_outputs()[0].shape[-1] == 512


def test_polyglots_vocabulary(tmp_path: Path) -> None:
    make_polyglot(tmp_path / "polyglot", layers=1, vocab=30_080)
    compress(tmp_path / "polyglot", tmp_path / "out", 0.5, Method.svd)
    assert Checkpoint(tmp_path / "out").shapes["embed_out.weight"] == (30_080, 32)
    assert load_model(tmp_path / "out")(torch.tensor([[1, 30_079]])).logits.shape == (1, 2, 30_080)


def test_a_half_precision_checkpoint_stays_one(polyglot: Path, tmp_path: Path) -> None:
    load_model(polyglot).half().save_pretrained(tmp_path / "half")
    write_tokenizer(tmp_path / "half")
    report = compress(tmp_path / "half", tmp_path / "out", 0.5, Method.svd)
    assert {value.dtype for value in load_file(tmp_path / "out" / "model.safetensors").values()} == {
        np.dtype("f2")
    }
    saved = report.bytes_before - report.bytes_after
    assert saved == 2 * (report.dense_parameters - report.parameters)


def test_the_report_says_what_was_done(polyglot: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = compress(polyglot, out, 0.6, Method.svd, model="EleutherAI/polyglot-ko-1.3b")
    read = json.loads((out / "compression.json").read_text(encoding="utf-8"))
    assert Report(**{**read, "layers": report.layers}) == report
    assert len(read["layers"]) == 8
    page = (out / "compression.md").read_text(encoding="utf-8")
    assert "EleutherAI/polyglot-ko-1.3b: svd, keep 0.6" in page and "0.attention.query_key_value" in page
    assert (out / "compression.png").read_bytes().startswith(b"\x89PNG")


def killed_at(monkeypatch: pytest.MonkeyPatch, write: int, error: BaseException) -> None:
    """The n-th file of the decomposition is not written any more."""
    count, really = itertools.count(), decomposition.write_tensors

    def write_tensors(*arguments: Any) -> None:
        if next(count) == write:
            raise error
        really(*arguments)

    monkeypatch.setattr(decomposition, "write_tensors", write_tensors)


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("write", range(3))
def test_a_killed_run_goes_on_to_the_same_result(
    polyglot: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method, write: int
) -> None:
    if method is Method.svd and write > 1:
        pytest.skip("a plain run writes one file a block")
    with monkeypatch.context() as patch:
        killed_at(patch, write, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            compress(polyglot, tmp_path / "out", 0.5, method, text)
    assert names(tmp_path / "out") == {STATE}
    decomposed = []
    really = decomposition.factorise
    monkeypatch.setattr(decomposition, "factorise", lambda w, *rest: decomposed.append(w) or really(w, *rest))
    compress(polyglot, tmp_path / "out", 0.5, method, text)
    # Whitened runs write factors and hidden states in turn; a block without its hidden states is run again.
    done = write if method is Method.svd else write // 2
    assert len(decomposed) == len(LINEARS) * (2 - done)
    compress(polyglot, tmp_path / "straight", 0.5, method, text)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        tmp_path / "straight" / "model.safetensors"
    ).read_bytes()
    assert names(tmp_path / "out") == RESULT


@pytest.mark.parametrize("method", Method)
def test_other_shares_need_no_new_decomposition(
    polyglot: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    state = tmp_path / "state"
    compress(polyglot, tmp_path / "half", 0.5, method, text, state=state)
    with monkeypatch.context() as patch:
        patch.setattr(decomposition, "factorise", lambda *_: pytest.fail("decomposed again"))
        compress(polyglot, tmp_path / "third", 0.3, method, text, state=state)
    compress(polyglot, tmp_path / "straight", 0.3, method, text)
    third, straight = (tmp_path / name / "model.safetensors" for name in ("third", "straight"))
    assert third.read_bytes() == straight.read_bytes()


def test_another_job_starts_over(
    polyglot: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        killed_at(patch, 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            compress(polyglot, tmp_path / "out", 0.5, Method.svd)
    compress(polyglot, tmp_path / "out", 0.5, Method.whitened, text)
    compress(polyglot, tmp_path / "straight", 0.5, Method.whitened, text)
    found, wanted = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "straight"))
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_a_full_disk_is_named_and_the_work_kept(
    polyglot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        killed_at(patch, 1, OSError(errno.ENOSPC, "no space"))
        with pytest.raises(ModelError, match="디스크"):
            compress(polyglot, tmp_path / "out", 0.5, Method.svd)
    assert {"block-0.json", "block-0.safetensors"} <= names(tmp_path / "out" / STATE)
    compress(polyglot, tmp_path / "out", 0.5, Method.svd)


def test_too_little_room_is_seen_beforehand(
    polyglot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(ModelError, match="자리가 모자라요"):
        compress(polyglot, tmp_path / "out", 0.5, Method.svd)


def test_memory_does_not_grow_with_depth(tmp_path: Path) -> None:
    peaks = []
    for layers in (2, 6):
        make_polyglot(tmp_path / str(layers), layers=layers, hidden=128)
        tracemalloc.start()
        compress(tmp_path / str(layers), tmp_path / f"out{layers}", 0.5, Method.svd)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.15 * peaks[0] + 200_000


def _other_architecture(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"gpt_neox"', '"llama"'), encoding="utf-8")


def _missing_shard(folder: Path) -> None:
    sorted(folder.glob("model-*.safetensors"))[1].unlink()


def _lying_header(folder: Path) -> None:
    shard = sorted(folder.glob("model-*.safetensors"))[0]
    shard.write_bytes((1 << 50).to_bytes(8, "little") + shard.read_bytes()[8:])


def _cut_short(folder: Path) -> None:
    shard = sorted(folder.glob("model-*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-100])


def _missing_tensor(folder: Path) -> None:
    shard = next(s for s in folder.glob("model-*.safetensors") if "embed_out.weight" in load_file(s))
    weights = load_file(shard)
    del weights["embed_out.weight"]
    save_file(weights, shard)


def _another_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 500}), encoding="utf-8")


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (_other_architecture, UnsupportedModelError, "llama"),
        (_missing_shard, ModelMissingError, "model-"),
        (_lying_header, ModelCorruptError, "손상"),
        (_cut_short, ModelCorruptError, "손상"),
        (_missing_tensor, ModelCorruptError, "embed_out"),
        (_another_size, ModelCorruptError, "embed_in"),
        (_no_tokenizer, ModelMissingError, "tokenizer"),
        (_broken_tokenizer, ModelCorruptError, "tokenizer"),
    ],
)
def test_a_bad_checkpoint_is_refused_before_any_work(
    copy: Path, tmp_path: Path, damage: Callable[[Path], None], error: type[DamsoError], said: str
) -> None:
    damage(copy)
    with pytest.raises(error, match=said):
        compress(copy, tmp_path / "out", 0.5, Method.svd)
    assert not (tmp_path / "out").exists()


def test_a_compressed_model_is_not_compressed_again(polyglot: Path, tmp_path: Path) -> None:
    compress(polyglot, tmp_path / "out", 0.5, Method.svd)
    with pytest.raises(UnsupportedModelError, match="이미"):
        compress(tmp_path / "out", tmp_path / "again", 0.5, Method.svd)


def test_the_source_is_never_overwritten(copy: Path) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(ModelError, match="원래 모델"):
        compress(copy, copy, 0.5, Method.svd)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "encoding", "said"), [(400, "utf-16", "UTF-8이 아니에요"), (3, "utf-8", "짧아요")]
)
def test_unusable_calibration_text_is_refused_before_any_work(
    polyglot: Path, tmp_path: Path, words: int, encoding: str, said: str
) -> None:
    (tmp_path / "글.txt").write_text("담소 " * words, encoding=encoding)
    with pytest.raises(TrainingDataError, match=said):
        compress(polyglot, tmp_path / "out", 0.5, Method.whitened, tmp_path / "글.txt")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "글.txt").write_text("한국어 글이에요", encoding=encoding)
    with pytest.raises(TrainingDataError, match="UTF-8"):
        list(read_texts(tmp_path / "글.txt"))


def test_calibration_text_of_both_forms(tmp_path: Path, write: Any) -> None:
    (tmp_path / "글.txt").write_text("\ufeff첫 문단\n\n둘째 문단\n", encoding="utf-8")
    assert list(read_texts(tmp_path / "글.txt")) == ["첫 문단", "둘째 문단"]
    write(tmp_path / "글.jsonl.xz", [{"text": "글"}, {"title": "없음"}])
    assert list(read_texts(tmp_path / "글.jsonl.xz")) == ["글"]
    with pytest.raises(TrainingDataError, match="열 수 없어요"):
        list(read_texts(tmp_path / "없음.txt"))


def test_whitening_without_text_is_refused(polyglot: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="--calibrate"):
        compress(polyglot, tmp_path / "out", 0.5, Method.whitened)


def test_a_name_a_folder_and_a_hub_id(polyglot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(polyglot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert checkpoint_folder("generator").name == "generator-checkpoint"
    assert checkpoint_folder(str(polyglot)) == polyglot
    assert asked == []
    assert checkpoint_folder("EleutherAI/polyglot-ko-1.3b") == polyglot
    assert asked[0][0] == "EleutherAI/polyglot-ko-1.3b"
    assert "*.safetensors" in asked[0][1] and not any("bin" in pattern for pattern in asked[0][1])


@pytest.mark.parametrize("name", ["없는 이름", "../a/b", "/no/such/folder", "a/b/c"])
def test_an_unknown_name_asks_nobody(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked"))
    monkeypatch.chdir(Path(__file__).parent)
    with pytest.raises(ModelMissingError, match="찾을 수 없어요"):
        checkpoint_folder(name)


@pytest.mark.parametrize("error", [ConnectionError("offline"), ValueError("bad id"), FileNotFoundError("no")])
def test_a_failed_download_is_explained(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> Iterator[None]:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelMissingError, match="내려받지 못했어요: EleutherAI/polyglot-ko-5.8b"):
        checkpoint_folder("EleutherAI/polyglot-ko-5.8b")


def damso(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exited:
        cli.main([str(argument) for argument in arguments])
    return int(exited.value.code or 0)


def test_the_command(polyglot: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert damso("compress", polyglot, "--keep", "0.5", "--calibrate", text, "--out", out) == 0
    assert "선형층 매개변수" in capsys.readouterr().out
    assert json.loads((out / "compression.json").read_text(encoding="utf-8"))["model"] == str(polyglot)


@pytest.mark.parametrize("keep", ["0", "-0.5", "1.5", "nan"])
def test_an_impossible_share_is_refused(
    keep: str, polyglot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert damso("compress", polyglot, "--keep", keep, "--method", "svd", "--out", tmp_path / "out") == 1
    assert "--keep" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
