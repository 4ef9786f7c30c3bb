"""The bench runs to its end and gives figures for everybody."""

from __future__ import annotations

import json

import pytest

from inference.engine.bench.__main__ import main


@pytest.mark.filterwarnings("ignore")  # transformers' own, about its generation settings
def test_every_part_that_needs_nothing_but_a_cpu_gives_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", "steps", "offline", "single", "--quick", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row[0] for row in said["batch"]["rows"]] == [
        "engine",
        "generate, one by one",
        "generate, padded",
        "generate_batch, told its size",
        "multiplications alone",
    ]
    assert min(said["x_generate_batch"], said["x_padded"], said["share_of_limit"], *said["peers"].values()) > 0
    assert [row[:2] for row in said["steps"]["rows"]] == [[1, 32], [2, 32]]
    for part in ("batch", "steps", "offline", "single"):
        assert all(cell > 0 for row in said[part]["rows"] for cell in row if not isinstance(cell, str))


def test_a_table_is_shown_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["single", "--quick"]) == 0
    title, columns, row = capsys.readouterr().out.splitlines()[:3]
    assert title.startswith("One sequence")
    assert len(columns) == len(row)


def test_a_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["everything"])
    assert "invalid choice: 'everything'" in capsys.readouterr().err
