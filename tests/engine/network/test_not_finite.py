"""Keys and values that are no numbers are found in the step that writes them, and never lie where others read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inference.engine.model import LoadedModel
from inference.events import Failed, Finished
from tests.engine.networks import WINDOW, Reading, runner
from tests.engine.stepped import Stepped, loaded

POISON = 5


@pytest.fixture
def poisoned(endless: Path) -> LoadedModel:
    """A model to which one token of the vocabulary is no number, the one that spells Ω's first byte."""
    model = loaded(endless)
    with torch.no_grad():
        model.network.get_input_embeddings().weight[poison_of(model)] = float("nan")
    return model


def poison_of(model: LoadedModel) -> int:
    known = model.tokenizer.encode("the river?").ids
    return next(token for token in model.tokenizer.encode("Ω").ids if token not in known)


def assert_memory_is_finite(engine: Stepped) -> None:
    memory = engine.model.runner.key_values
    assert torch.isfinite(memory.keys).all()
    assert torch.isfinite(memory.values).all()


@pytest.mark.parametrize("name", ["llama", "mistral with a window", "gemma3"])
def test_the_part_that_wrote_no_numbers_is_named(name: str) -> None:
    read_by = runner(name)
    with torch.no_grad():
        read_by.network.get_input_embeddings().weight[POISON] = float("nan")
    bad, good = [1] * (4 * WINDOW) + [POISON], [1] * 20
    logits, step = read_by.run([Reading(read_by, ids).part(len(ids)) for ids in (good, bad, good)])
    assert step.broken == {1}
    assert logits.isfinite().all(dim=-1).tolist() == [True, False, True]
    first = Reading(read_by, [1])
    _, step = read_by.run([first.part(1)])
    assert not step.broken


def test_a_prompt_that_is_no_numbers_fails_before_it_is_read_to_its_end(poisoned: LoadedModel) -> None:
    engine = Stepped(poisoned, places=4)
    engine.answer("alone", max_tokens=40)
    engine.submit("beside", max_tokens=40)
    engine.submit("bad", "Ω" + "the river runs " * 200)
    engine.submit("after", max_tokens=40)
    while not engine.listener.events["bad"]:
        engine.step()
    assert isinstance(engine.listener.final("bad"), Failed)
    assert_memory_is_finite(engine)
    engine.run()
    for name in ("beside", "after"):
        assert isinstance(engine.listener.final(name), Finished)
        assert engine.listener.text(name) == engine.listener.text("alone")


def test_nothing_that_is_no_number_is_left_of_a_request_cancelled_as_it_begins(poisoned: LoadedModel) -> None:
    engine = Stepped(poisoned, places=4)
    engine.submit("bad", "Ω" + "the river runs " * 200)
    engine.step()
    engine.submissions.cancel("bad")
    engine.run()
    assert_memory_is_finite(engine)
