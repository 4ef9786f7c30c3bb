"""Steps that there is no memory for: they are made smaller and computed in the same step, and grow again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine import Engine
from inference.engine.device.owner import is_device_fault, is_out_of_memory
from inference.engine.limits.step_limit import LEAST_TOKENS, StepLimit
from inference.events import Failed, Finished
from tests.engine.conftest import Listener, request_for, text_of

LONG_PROMPT = "the river runs " * 200


def run_out_of_memory(engine: Engine, fault: Exception, *, beyond_tokens: int) -> list[int]:
    """Make every forward of more tokens raise from now on; returns the list that gets the tokens of each forward."""
    tried: list[int] = []

    def refuse(_module: object, _args: Any, kwargs: dict[str, Any]) -> None:
        tried.append(kwargs["input_ids"].shape[1])
        if tried[-1] > beyond_tokens:
            raise fault

    engine._models["tiny"].network.register_forward_pre_hook(refuse, with_kwargs=True)
    return tried


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_prompt_is_read_in_parts_that_fit(
    engine: Engine, endless: Path, listener: Listener, fault: Exception
) -> None:
    with closing(Engine("cpu")) as roomy:
        roomy.load("tiny", str(endless))
        answer = text_of(list(roomy.stream(request_for("roomy", LONG_PROMPT, max_tokens=5))))
    tried = run_out_of_memory(engine, fault, beyond_tokens=150)
    steps = engine.step
    engine.submit(request_for("long", LONG_PROMPT, max_tokens=5))
    assert isinstance(listener.final("long"), Finished)
    assert listener.text("long") == answer
    assert tried[:3] == [512, 256, 128]  # in one step
    assert engine.step - steps < len(tried)
    assert max(tried[3:]) <= 150 + LEAST_TOKENS


def test_whoever_decodes_goes_on_while_a_prompt_shrinks(engine: Engine, listener: Listener) -> None:
    tried = run_out_of_memory(engine, torch.OutOfMemoryError("too much"), beyond_tokens=100)
    engine.submit(request_for("short", max_tokens=200))
    engine.submit(request_for("long", LONG_PROMPT, max_tokens=5))
    for name in ("short", "long"):
        assert isinstance(listener.final(name), Finished)
    assert max(tried) > 100


def test_a_request_that_fits_in_no_step_fails_alone(engine: Engine, listener: Listener) -> None:
    tried = run_out_of_memory(engine, torch.OutOfMemoryError("too much"), beyond_tokens=LEAST_TOKENS - 1)
    engine.submit(request_for("short", "Hi", max_tokens=200))
    engine.submit(request_for("long", LONG_PROMPT, max_tokens=5))
    failed = listener.final("long")
    assert isinstance(failed, Failed)
    assert failed.code is None
    assert tried.count(LEAST_TOKENS) > 0
    assert isinstance(listener.final("short"), Finished)


def test_the_limit_halves_to_its_floor_and_grows_back() -> None:
    limit = StepLimit(512)
    assert [limit.shrink(tokens) for tokens in (512, 256, 70, 35)] == [256, 128, 35, LEAST_TOKENS]
    assert limit.shrink(LEAST_TOKENS) is None
    steps = 0
    while limit.tokens < 512:
        limit.grow()
        steps += 1
    assert 100 <= steps <= 200
    limit.grow()
    assert limit.tokens == 512


def test_no_memory_is_no_broken_device() -> None:
    for sentence in ("CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"):
        fault = RuntimeError(sentence)
        assert is_out_of_memory(fault)
        assert not is_device_fault(fault)
    assert is_device_fault(RuntimeError("CUDA error: an illegal memory access was encountered"))
