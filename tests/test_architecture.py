"""What holds for the code as a whole."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from assistant import errors

ROOT = Path(__file__).parent.parent
PACKAGES = ("assistant", "agents", "retrieval", "compression")
TRAINING_ONLY = {
    "torch", "transformers", "peft", "bitsandbytes", "sentence_transformers", "sklearn", "matplotlib", "scipy", "onnx",
}  # fmt: skip
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize(
    "module", ["assistant.dialog", "assistant.cli", "assistant.daemon.application", "app"]
)
def test_serving_loads_nothing_that_only_trains(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert {name.partition(".")[0] for name in done.stdout.split()} & TRAINING_ONLY == set()


def test_the_errors_are_the_ones_in_the_drawing() -> None:
    drawn = re.findall(r"^[│├└─ ]*(\w+Error)$", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(errors.__all__)


def test_the_drawing_shows_who_descends_from_whom() -> None:
    line = re.compile(r"^(?P<indent>[│├└─ ]*)(?P<name>\w+Error)$", re.MULTILINE)
    ancestors: list[str] = []
    for found in line.finditer(errors.__doc__ or ""):
        depth = len(found["indent"]) // 4
        ancestors[depth:] = [found["name"]]
        bases = [base.__name__ for base in getattr(errors, found["name"]).__bases__]
        assert bases == [ancestors[-2] if depth else "Exception"], found["name"]


def test_errors_of_the_packages_are_all_exported() -> None:
    import agents.errors
    import compression.errors
    import retrieval.errors

    parts = [importlib.import_module(f"compression.{part}.errors") for part in ("audio", "iot")]
    for module in (agents.errors, compression.errors, retrieval.errors, *parts):
        defined = {name for name, value in vars(module).items() if isinstance(value, type)}
        assert defined <= set(errors.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_never_print(path: Path) -> None:
    """But for the last lines of a command, `main`, which say what was found."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    mains = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    allowed = {id(node) for main in mains for node in ast.walk(main)}
    printed = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and id(node) not in allowed
    ]
    assert printed == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def places_that_call(*functions: str) -> set[str]:
    """Modules with a call of one of the functions, however the module they are in is named."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(functions)
    }


def test_only_one_place_makes_each_thing() -> None:
    assert places_that_call("InferenceSession") == {"compression/runtime.py"}
    assert places_that_call("sqlite3.connect") == {"retrieval/database.py"}


def test_no_pickle_is_ever_read() -> None:
    assert places_that_call("torch.load", "pickle.load", "pickle.loads", "joblib.load") == set()
    for path in MODULES:
        assert not re.search(
            r"^\s*(import|from) (pickle|joblib|dill|shelve)\b", path.read_text("utf-8"), re.M
        ), path


def test_no_machine_path_is_written_anywhere() -> None:
    for path in [
        *MODULES,
        ROOT / "app.py",
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "benchmarks").rglob("*.py"),
    ]:
        if path != Path(__file__):
            assert not re.search(r"[\"' ]/(work|home|root|mnt)/", path.read_text(encoding="utf-8")), path
