"""`damso doctor`: what this installation is made of, and whether it can work."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from assistant.errors import DamsoError
from assistant.settings import Settings
from compression.artefacts import models_folder, verify_all
from compression.runtime import check_cpu

_PACKAGES = ("onnxruntime", "numpy", "tokenizers", "faiss-cpu", "kiwipiepy", "fastapi", "gradio")
_PROBE = "담소는 문서를 읽고 답해요. 값은 12,300원, 똠얌꿍은 없어요."
_ROOM_NEEDED = 500 * 2**20


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at, in Korean.
        ok: whether Damso can work with it.
        detail: what was found, and what to do when it is not in order.
    """

    name: str
    ok: bool
    detail: str


def examine(settings: Settings) -> Iterator[Check]:
    """Look at everything; one fault does not hide the next.

    Args:
        settings: whose data folder is looked at.

    Yields:
        The findings as they come.
    """
    yield Check("파이썬", True, f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    yield Check("꾸러미", *_packages())
    yield _guarded("프로세서", _processor)
    yield from _models()
    yield _guarded("한글 나누기", _tokenisation)
    yield Check("디스크", *_room(settings.home))


def _guarded(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except DamsoError as error:
        return Check(name, False, str(error))


def _packages() -> tuple[bool, str]:
    found = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, number in found.items() if number is None]
    if missing:
        return False, f"{', '.join(missing)}이(가) 없어요. make setup을 다시 해 주세요."
    return True, ", ".join(f"{name} {number}" for name, number in found.items())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    check_cpu()
    features = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx_vnni") if name in _cpu_flags()]
    return ", ".join(features) or "쓸 수 있어요"


def _cpu_flags() -> frozenset[str]:
    """Feature names as Linux gives them; none elsewhere."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return frozenset()
    lines = information.read_text(encoding="utf-8", errors="replace").splitlines()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def _models() -> Iterator[Check]:
    try:
        problems = verify_all()
    except DamsoError as error:
        yield Check("모델", False, str(error))
        return
    for name, problem in problems.items():
        yield Check(f"모델 {name}", problem is None, str(problem) if problem else "체크섬이 맞아요")


def _tokenisation() -> str:
    from tokenizers import Tokenizer

    from compression.artefacts import model_folder

    tokenizer = Tokenizer.from_file(str(model_folder("generator") / "tokenizer.json"))
    ids = tokenizer.encode(_PROBE).ids
    if tokenizer.decode(ids) != _PROBE:
        raise DamsoError(
            f"한글이 되살아나지 않아요: {tokenizer.decode(ids)}", "모델 폴더를 다시 받아 주세요."
        )
    return f"{len(_PROBE)}글자를 {len(ids)}토큰으로 나누고 그대로 되살렸어요"


def _room(home: Path) -> tuple[bool, str]:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{home}에 {free / 2**30:.1f} GB가 남아 있어요 (모델: {models_folder()})"
    if free < _ROOM_NEEDED:
        return False, f"{detail}. 500 MB는 비워 주세요."
    return True, detail
