from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compression import runtime
from compression.errors import ModelCorruptError, ModelMissingError, UnsupportedMachineError

DATA = np.arange(2000, dtype=np.float32)


def write_model(folder: Path, location: str) -> Path:
    """A model that adds external data."""
    weight = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=DATA.shape, data_location=TensorProto.EXTERNAL
    )
    weight.external_data.add(key="location", value=location)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "add",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    file = folder / "model.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save_model(model, file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (folder, tmp_path):
        (place / "data.bin").write_bytes(DATA.tobytes())
    return folder


def test_data_beside_the_model_is_read(folder: Path) -> None:
    session = runtime.session(write_model(folder, "data.bin"), threads=1)
    np.testing.assert_array_equal(session.run(None, {"x": np.ones(1, np.float32)})[0], DATA + 1)
    assert session.get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("location", ["../data.bin", "missing.bin", "link.bin", "absolute"])
def test_data_elsewhere_is_refused(folder: Path, location: str) -> None:
    (folder / "link.bin").symlink_to("../data.bin")
    if location == "absolute":
        location = str(folder.parent / "data.bin")
    with pytest.raises(ModelCorruptError, match=r"model\.onnx"):
        runtime.session(write_model(folder, location), threads=1)


def test_data_cut_short_is_refused(folder: Path) -> None:
    (folder / "data.bin").write_bytes(DATA.tobytes()[:100])
    with pytest.raises(ModelCorruptError):
        runtime.session(write_model(folder, "data.bin"), threads=1)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a" * 100, b"\x80\x04pickle"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelCorruptError, match="열 수 없어요"):
        runtime.session(content, threads=1)
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelCorruptError, match=r"model\.onnx"):
        runtime.session(tmp_path / "model.onnx", threads=1)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match=r"model\.onnx"):
        runtime.session(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("machine", "found", "supported"),
    [
        ("x86_64", ["X86_V3"], True),
        ("AMD64", ["SSE42", "AVX2"], True),
        ("x86_64", ["SSE42", "AVX"], False),
        ("arm64", [], True),
        ("aarch64", [], True),
    ],
)
def test_a_processor_without_avx2_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, machine: str, found: list[str], supported: bool
) -> None:
    features = {"SIMD Extensions": {"baseline": ["SSE"], "found": found, "not found": ["AVX512_SPR"]}}
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("numpy.show_config", lambda mode: features)
    assert runtime.has_avx2() is supported
    if not supported:
        with pytest.raises(UnsupportedMachineError, match="AVX2"):
            runtime.session(b"never opened")


def test_this_machine_is_supported() -> None:
    runtime.check_cpu()
    assert runtime.physical_cores() >= 1
