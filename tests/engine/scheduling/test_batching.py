"""Many sequences in one forward: who gives way when memory runs out, what can never fit, and whose fault is whose."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine import Engine
from inference.engine.limits.limits import Limit
from inference.engine.loading import weights
from inference.engine.scheduling.scheduler import Turn
from inference.events import FINAL, Failed, Finished, Started, Text
from inference.policies import AdmissionPolicy
from inference.requests import Sampling
from tests.engine.conftest import Listener, request_for, text_of

SEEDED = Sampling(temperature=1.0, top_p=0.95, seed=5)


@pytest.fixture
def narrow(endless: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine of eight places whose memory holds 320 tokens: about three requests of the tests below.

    In float32: what is read again in one chunk differs in its last bits, which in bfloat16 decides between tokens.
    """
    monkeypatch.setattr(weights, "DTYPE", torch.float32)
    engine = Engine(
        "cpu", publish=listener, admission=AdmissionPolicy(max_in_flight=8), kv_tokens=320, proves_when_idle=True
    )
    engine.load("tiny", str(endless))
    yield engine
    engine.check()
    engine.close()


def assert_all_blocks_are_free(engine: Engine) -> None:
    def check() -> None:
        pool = engine._models["tiny"].runner.pool
        pool.check([])
        assert pool.free_blocks == pool.blocks

    engine._owner.call(check)


def check_every_step(engine: Engine) -> list[int]:
    """Prove before each step from now on that the blocks of all sequences are all there are; a number for each."""
    checked: list[int] = []
    scheduler, plan = engine._scheduler, engine._scheduler.plan

    def plan_and_check() -> list[Turn]:
        turns = plan()
        scheduler.check(engine._models.all())
        checked.append(len(turns))
        return turns

    scheduler.plan = plan_and_check  # type: ignore[method-assign]
    return checked


def forwards_of(engine: Engine) -> list[int]:
    """The number of tokens of each forward from now on."""
    read: list[int] = []
    engine._models["tiny"].network.register_forward_pre_hook(
        lambda _module, _args, kwargs: read.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    return read


# -- one forward ---------------------------------------------------------------------------------


def test_all_that_run_share_a_forward(endless: Path, listener: Listener) -> None:
    engine = Engine("cpu", publish=listener, admission=AdmissionPolicy(max_in_flight=4))
    engine.load("tiny", str(endless))
    read = forwards_of(engine)
    list(engine.stream(request_for("one", n=4, max_tokens=50)))
    assert len(read) < 60
    assert max(read[1:]) == 4
    engine.close()


def test_an_answer_is_the_same_alone_and_among_others(narrow: Engine, listener: Listener) -> None:
    requests = [("r", "Hello!", Sampling(temperature=0)), ("s", "What is a river?", SEEDED)]
    alone = {
        name: text_of(list(narrow.stream(request_for(f"{name} alone", content, max_tokens=50, sampling=sampling))))
        for name, content, sampling in requests
    }
    for name, content, sampling in requests:
        narrow.submit(request_for(name, content, max_tokens=50, sampling=sampling))
        narrow.submit(request_for(f"beside {name}", "the river runs " * 4, max_tokens=30))
    for name, text in alone.items():
        assert isinstance(listener.final(name), Finished)
        assert listener.text(name) == text
    listener.final("beside r"), listener.final("beside s")
    assert_all_blocks_are_free(narrow)


# -- memory that runs out ------------------------------------------------------------------------


def test_those_that_gave_way_end_with_the_answer_they_would_have_given(
    narrow: Engine, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="inference.engine")
    alone = text_of(list(narrow.stream(request_for("alone", max_tokens=150, sampling=SEEDED))))
    names = [f"r{number}" for number in range(6)]
    for name in names:
        narrow.submit(request_for(name, max_tokens=150, sampling=SEEDED))
    for name in names:
        final = listener.final(name)
        assert isinstance(final, Finished)
        assert final.completion_tokens == 150
        assert listener.text(name) == alone
        assert sum(isinstance(event, Started) for event in listener.events[name]) == 1
    assert "gives way" in caplog.text
    assert "request r0 gives way" not in caplog.text  # the oldest never does
    assert_all_blocks_are_free(narrow)


def test_choices_whose_shared_prompt_had_to_go_read_it_themselves(narrow: Engine, listener: Listener) -> None:
    prompt = "the river runs " * 8
    alone = text_of(list(narrow.stream(request_for("alone", prompt, max_tokens=100))))
    narrow.submit(request_for("many", prompt, n=12, max_tokens=100))
    final = listener.final("many")
    assert isinstance(final, Finished)
    assert final.completion_tokens == 1200
    for index in range(12):
        texts = [event.text for event in listener.events["many"] if isinstance(event, Text) and event.index == index]
        assert "".join(texts) == alone
    assert_all_blocks_are_free(narrow)


def test_a_request_may_use_all_of_the_memory_and_not_more(narrow: Engine) -> None:
    assert narrow.models()[0].limit == Limit(320, 240, 80, "memory")
    whole = list(narrow.stream(request_for("whole", max_tokens=1000)))
    assert isinstance(whole[0], Started)
    assert whole[-1] == Finished("length", whole[0].prompt_tokens, 320 - whole[0].prompt_tokens)
    (refused,) = narrow.stream(request_for("over", "the river runs " * 100))
    assert isinstance(refused, Failed)
    assert refused.code == "context_length_exceeded"
    assert refused.diagnostics["max"] == 240
    assert_all_blocks_are_free(narrow)


@pytest.mark.parametrize("seed", range(2))
def test_any_mixture_ends_once_each_and_leaves_nothing_behind(narrow: Engine, listener: Listener, seed: int) -> None:
    dice = random.Random(seed)
    checked = check_every_step(narrow)
    names = [f"r{number}" for number in range(20)]
    for name in names:
        prompt = "the river runs " * dice.randint(0, 12)
        narrow.submit(request_for(name, prompt, n=dice.choice([1, 1, 3]), max_tokens=dice.randint(1, 80)))
        if dice.random() < 0.3:
            narrow.cancel(dice.choice(names))
    for name in names:
        listener.final(name)
    assert_all_blocks_are_free(narrow)
    for name in names:
        assert sum(isinstance(event, FINAL) for event in listener.events[name]) == 1
    assert max(checked) > 2


# -- faults --------------------------------------------------------------------------------------


def break_request(engine: Engine, request_id: str, fault: Exception) -> None:
    """Make every forward raise that has a sequence of the request in it."""

    def raise_for_its_slots(_module: object, _args: Any, kwargs: dict[str, Any]) -> None:
        generation = engine._submissions._generations.get(request_id)
        blocks = {block for sequence in generation.sequences for block in sequence.table.blocks} if generation else {}
        if any(int(slot) // 16 in blocks for slot in kwargs["step"].slots):
            raise fault

    engine._models["tiny"].network.register_forward_pre_hook(raise_for_its_slots, with_kwargs=True)


@pytest.mark.parametrize("fault", [RuntimeError("shapes"), torch.OutOfMemoryError("too much"), KeyError("layer")])
def test_a_fault_in_a_batch_fails_the_request_that_brings_it_alone(
    narrow: Engine, listener: Listener, fault: Exception
) -> None:
    names = ["a", "bad", "c"]
    alone = text_of(list(narrow.stream(request_for("alone", max_tokens=40))))
    break_request(narrow, "bad", fault)
    for name in names:
        narrow.submit(request_for(name, max_tokens=40))
    assert isinstance(listener.final("bad"), Failed)
    for name in ("a", "c"):
        assert isinstance(listener.final(name), Finished)
        assert listener.text(name) == alone
    assert_all_blocks_are_free(narrow)


def test_a_forward_that_always_fails_ends_each_request_and_not_the_engine(narrow: Engine, listener: Listener) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("shapes")

    names = ["a", "b", "c"]
    broken = narrow._models["tiny"].network.register_forward_pre_hook(refuse)
    for name in names:
        narrow.submit(request_for(name, max_tokens=40))
    for name in names:
        assert isinstance(listener.final(name), Failed)
    broken.remove()
    assert isinstance(list(narrow.stream(request_for("after", max_tokens=3)))[-1], Finished)
    assert_all_blocks_are_free(narrow)


def test_numbers_that_are_none_stay_with_the_request_that_made_them(endless: Path, listener: Listener) -> None:
    engine = Engine("cpu", publish=listener, admission=AdmissionPolicy(max_in_flight=4), kv_tokens=1024)
    engine.load("tiny", str(endless))
    network = engine._models["tiny"].network
    alone = text_of(list(engine.stream(request_for("alone", max_tokens=60))))
    marked = engine._models["tiny"].prompts.encode([{"role": "user", "content": "Ω"}]).token_ids
    poison = next(
        token
        for token in marked
        if token not in engine._models["tiny"].prompts.encode([{"role": "user", "content": "Hello!"}]).token_ids
    )
    with torch.no_grad():
        network.get_input_embeddings().weight[poison] = float("nan")
    for name, content in (("a", "Hello!"), ("bad", "Ω"), ("c", "Hello!")):
        engine.submit(request_for(name, content, max_tokens=60))
    assert isinstance(listener.final("bad"), Failed)
    for name in ("a", "c"):
        assert isinstance(listener.final(name), Finished)
        assert listener.text(name) == alone
    pool = engine._models["tiny"].runner.key_values
    assert torch.isfinite(pool.keys).all()
    assert torch.isfinite(pool.values).all()
    assert_all_blocks_are_free(engine)
    engine.close()
