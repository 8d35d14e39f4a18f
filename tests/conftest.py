"""Every test has a data folder of its own and none of the settings of the person who runs it.

Hypothesis has no deadline: the first example of a test may load a model, and machines are busy.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("damso", deadline=None)
settings.load_profile("damso")


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DAMSO_")]:
        monkeypatch.delenv(name)
    home: Path = tmp_path_factory.getbasetemp() / "nobody"
    monkeypatch.setenv("DAMSO_HOME", str(home))
