from __future__ import annotations

from pathlib import Path

import pytest

from agents.labelled import labelled_sets
from compression.errors import TrainingDataError
from tests.agents.public_data import write_data


def test_no_held_out_text_is_on_the_training_side(tmp_path: Path) -> None:
    sets = labelled_sets(write_data(tmp_path))
    assert [each.name for each in sets] == ["stylekqc_topics", "stylekqc_acts", "kochat", "3i4k", "klue_tc"]
    for each in sets:
        assert each.train and each.test
        assert not {text for text, _ in each.train} & {text for text, _ in each.test}
    assert len(sets[2].outside) == 20 and not sets[0].outside


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="stylekqc"):
        labelled_sets(tmp_path)


def test_a_sample_is_always_the_same_and_no_larger(tmp_path: Path) -> None:
    for each in labelled_sets(write_data(tmp_path)):
        few = each.sample(7)
        assert few == each.sample(7)
        assert len(few.train) == len(few.test) == 7 and len(few.outside) in (0, 7)
        assert set(few.test) <= set(each.test) and set(few.outside) <= set(each.outside)
