"""A small sample of the proof: `python -m tests.proofs.grammar` is the whole of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.engine import Engine
from inference.policies import AdmissionPolicy
from tests.models import tiny_model
from tests.proofs import grammar


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine("cpu", admission=AdmissionPolicy(max_in_flight=grammar.AT_A_TIME))
    engine.load("tiny", str(tiny_model(tmp_path / "tiny")))
    yield engine
    engine.close()


def test_answers_keep_to_their_schemas(engine: Engine) -> None:
    faults, ended = grammar.prove_schemas(engine, count=40, seed=1)
    assert not faults
    assert ended >= grammar.ENDS_AT_LEAST


def test_answers_that_are_cut_are_the_beginning_of_something_valid(engine: Engine) -> None:
    faults, ended = grammar.prove_schemas(engine, count=20, seed=2, max_tokens=grammar.CUT_TOKENS)
    assert not faults
    assert ended < 0.5


@pytest.mark.parametrize(
    ("schema", "text", "fault"),
    [
        ({"type": "integer"}, "true", "not of type"),
        ({"type": "integer"}, "1 2", "no JSON"),
        ({"type": "integer"}, "12", None),
    ],
)
def test_the_judge_can_say_no(schema: object, text: str, fault: str | None) -> None:
    said = grammar.fault_in(schema, grammar.Answer(text, grammar.Finished("stop", 1, 1), 0.1))
    assert said is None if fault is None else fault in (said or "")
    cut = grammar.Answer('{"a', grammar.Finished("length", 1, 1), 0.1)
    assert grammar.fault_in({"type": "integer"}, cut) == "no prefix of anything valid"
