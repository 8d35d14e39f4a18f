"""Hypothesis without a deadline: the first example of a test may load the analyser."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("retrieval", deadline=None)
settings.load_profile("retrieval")
