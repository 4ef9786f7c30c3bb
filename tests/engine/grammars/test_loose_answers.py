"""A schema that is not strict: what the grammar leaves out of it is looked at once the answer is whole, and logged."""

from __future__ import annotations

import json
import logging
import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.engine import Engine
from inference.engine.grammars import loose_answers
from inference.events import Finished
from inference.grammars import JsonSchema
from inference.requests import Sampling, Tool, ToolUse
from tests.engine.conftest import WAIT_S, request_for
from tests.engine.scripted import HERMES, scripted_model

#: Two that are alike, where no two may be: no grammar keeps to that.
TWINS = {"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 2, "uniqueItems": True}
PAIR = {"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 2}


class Told(logging.Handler):
    """What is logged, as it comes."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.put((record.levelname, record.getMessage()))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    handler = Told()
    monkeypatch.setattr(loose_answers.logger, "level", logging.INFO)
    loose_answers.logger.addHandler(handler)
    yield handler
    loose_answers.logger.removeHandler(handler)


def ask(engine: Engine, request_id: str, schema: object, **fields: object) -> None:
    grammar = JsonSchema(json.dumps(schema))
    request = request_for(request_id, grammar=grammar, **{"max_tokens": 60, "sampling": Sampling(seed=1), **fields})
    events = list(engine.stream(request))
    assert isinstance(events[-1], Finished)


def test_an_answer_that_does_not_satisfy_its_schema_is_logged(engine: Engine, told: Told) -> None:
    ask(engine, "pair", PAIR)
    ask(engine, "cut", TWINS, max_tokens=1)
    ask(engine, "twins", TWINS)
    line = "request twins: choice 0 does not satisfy its schema's `uniqueItems`"
    assert told.lines.get(timeout=WAIT_S) == ("WARNING", line)


def test_each_choice_is_validated(engine: Engine, told: Told) -> None:
    ask(engine, "two", TWINS, n=2)
    lines = {told.lines.get(timeout=WAIT_S)[1] for _ in range(2)}
    assert lines == {f"request two: choice {index} does not satisfy its schema's `uniqueItems`" for index in range(2)}


def test_the_arguments_of_a_forced_call_are_validated(engine: Engine, tmp_path: Path, told: Told) -> None:
    engine.load("calls", str(scripted_model(tmp_path, family=HERMES)))
    parameters = {"type": "object", "properties": {"a": TWINS}, "required": ["a"], "additionalProperties": False}
    use = ToolUse(tools=[Tool("pick", parameters=json.dumps(parameters))], choice="required", parallel=False)
    for seed in range(3):
        list(
            engine.stream(
                request_for("call", model="calls", sampling=Sampling(seed=seed), tool_use=use, max_tokens=200)
            )
        )
    level, line = told.lines.get(timeout=WAIT_S)
    assert (level, line) == ("WARNING", "request call: choice 0 does not satisfy its schema's `uniqueItems`")


def test_what_cannot_be_decided_is_no_warning(engine: Engine, told: Told) -> None:
    ask(engine, "names", {**PAIR, "items": {"const": 1, "patternProperties": {"a": True}}})
    level, line = told.lines.get(timeout=WAIT_S)
    assert level == "INFO"
    assert "names" in line
