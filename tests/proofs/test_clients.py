"""The table of clients: what is written down is what the page shows, and what is lost since is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proofs.clients import record
from tests.proofs.clients.record import Ran
from tests.proofs.clients.trials import TRIALS, Outcome

TRIAL = TRIALS[0]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RECORD", tmp_path / "ran.json")
    monkeypatch.setattr(record, "PAGE", tmp_path / "ran.md")
    record.write([Outcome(TRIAL, {"text": None, "stream": None, "tools": "ValueError: a | b"})])


def test_the_page_shows_what_was_written_down_last() -> None:
    assert record.PAGE.read_text() == record.page(record.read())


@pytest.mark.usefixtures("written")
def test_what_ran_before_and_does_not_now_is_lost_and_what_never_ran_is_not() -> None:
    assert record.regressions([Outcome(TRIAL, {"text": None, "stream": None, "tools": "again"})]) == []
    assert record.regressions([Outcome(TRIAL, {"text": None, "tools": None})]) == [
        f"{TRIAL.name}: stream ran before. Now: it was not tried"
    ]
    [lost] = record.regressions([Outcome(TRIAL, {"text": "TypeError: no", "stream": None})])
    assert "text ran before. Now: TypeError: no" in lost


@pytest.mark.usefixtures("written")
def test_a_trial_that_is_run_alone_leaves_the_others_as_they_were() -> None:
    before = record.read()[TRIAL.name]
    record.write([Outcome(TRIALS[1], {"text": None})])
    assert record.read() == {TRIAL.name: before, TRIALS[1].name: Ran(before.packages, {"text": None})}


@pytest.mark.usefixtures("written")
def test_what_failed_stands_under_the_table_with_its_fault() -> None:
    page = record.PAGE.read_text()
    assert "| ran | ran |  | **failed** |" in page
    assert "`tools`. `ValueError: a | b`" in page
