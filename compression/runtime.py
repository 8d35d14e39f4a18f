"""The only place that makes an ONNX Runtime session."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort

from compression.errors import ModelCorruptError, ModelMissingError, UnsupportedMachineError

_SILENT = 4  # errors reach people as exceptions, in Korean, and not as the runtime's own log lines


def session(model: Path | bytes, threads: int | None = None) -> ort.InferenceSession:
    """A CPU session with every graph optimisation.

    Args:
        model: an ONNX file, whose external data must lie in the file's own folder (the runtime refuses any
            other place, links included), or a serialised model without external data.
        threads: threads inside one operator; all physical cores of this process by default.

    Raises:
        UnsupportedMachineError: the processor has no AVX2.
        ModelMissingError: no file of that name.
        ModelCorruptError: not an ONNX model, or its data is missing, cut short or outside its folder.
    """
    check_cpu()
    if isinstance(model, Path) and not model.is_file():
        raise ModelMissingError(
            f"모델 파일이 없어요: {model.name}", "저장소를 다시 받거나 모델을 다시 내보내 주세요."
        )
    source = model if isinstance(model, bytes) else str(model)
    try:
        return ort.InferenceSession(source, _options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no other base
        name = "모델" if isinstance(model, bytes) else model.name
        raise ModelCorruptError(
            f"모델을 열 수 없어요: {name}", "파일이 손상되었을 수 있으니 다시 받아 주세요."
        ) from error


def _options(threads: int | None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = physical_cores() if threads is None else threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = True
    options.log_severity_level = _SILENT
    ort.disable_telemetry_events()
    return options


@cache
def physical_cores() -> int:
    """Physical cores this process may run on; two hardware threads of a core share its vector units."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    logical = os.sched_getaffinity(0)
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    try:
        return len({Path(topology.format(core)).read_text(encoding="ascii") for core in logical})
    except OSError:
        return len(logical)


def has_avx2() -> bool:
    """Whether the processor has AVX2; true on other architectures, whose builds do not need it."""
    if platform.machine().lower() not in ("x86_64", "amd64", "x86", "i386", "i686"):
        return True
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    # NumPy 2.4 names the whole x86-64-v3 level, earlier ones each feature.
    return not {"AVX2", "X86_V3"}.isdisjoint([*simd["baseline"], *simd["found"]])


def check_cpu() -> None:
    """Say so when the processor cannot run the models, instead of dying of an illegal instruction.

    Raises:
        UnsupportedMachineError: an x86 processor without AVX2.
    """
    if not has_avx2():
        raise UnsupportedMachineError(
            "이 컴퓨터의 프로세서는 AVX2를 지원하지 않아 모델을 실행할 수 없어요.",
            "2013년 이후의 x86-64 프로세서나 ARM 프로세서를 쓰는 컴퓨터에서 실행해 주세요.",
        )
