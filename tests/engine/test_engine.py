"""What a request goes through: events in order, cancel, limits, neighbours, and one final event in every case."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from inference.engine import Engine
from inference.engine.limits.limits import Limit
from inference.events import Event, Failed, Finished, Started, Text
from inference.requests import GenerationRequest, Sampling
from tests.engine.conftest import WAIT_S, Listener, request_for, text_of
from tests.models import tiny_model, tiny_tokenizer

LONG_PROMPT = "the river runs " * 160  # more than one step's share of prefill, for these tokenizers
SAMPLED = Sampling(temperature=1.0, top_p=0.95, seed=5)


# -- one answer ----------------------------------------------------------------------------------


def test_it_works(engine: Engine) -> None:
    events = list(engine.stream(request_for("one", max_tokens=20)))
    assert isinstance(events[0], Started)
    assert events[-1] == Finished("length", events[0].prompt_tokens, 20)
    counts = [event.completion_tokens for event in events[1:-1] if isinstance(event, Text)]
    assert counts == sorted(set(counts))
    assert len(counts) > 8
    assert engine.running() == []


def test_events_of_a_step_are_published_together(engine: Engine, listener: Listener) -> None:
    for name in ("a", "b"):
        engine.submit(request_for(name, max_tokens=40))
    listener.final("a"), listener.final("b")
    assert any({request_id for request_id, _ in batch} == {"a", "b"} for batch in listener.batches)
    assert len(listener.batches) < len(listener.events["a"]) + len(listener.events["b"])


def test_the_bound_is_cut_to_what_the_context_leaves(tmp_path: Path) -> None:
    with engine_on(tiny_model(tmp_path / "m", eos=False, max_position_embeddings=64)) as engine:
        events = list(engine.stream(request_for("one", max_tokens=1000)))
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert finished == Finished("length", started.prompt_tokens, 64 - started.prompt_tokens)


def test_an_end_token_ends_the_answer_and_is_counted(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m", eos=True)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][tiny_tokenizer().eos_token_id] *= 40  # every other step or so, not one in a few hundred
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with engine_on(folder) as engine:
        events = list(engine.stream(request_for("one", max_tokens=500, sampling=SAMPLED)))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "stop"
    assert 1 <= finished.completion_tokens < 500
    assert "<|" not in text_of(events)


def test_a_stop_string_ends_the_answer_and_does_not_show(engine: Engine) -> None:
    whole = text_of(list(engine.stream(request_for("whole", max_tokens=60))))
    stop = whole[30:36]
    events = list(engine.stream(request_for("stopped", max_tokens=60, stop=["never said", stop])))
    assert text_of(events) == whole[: whole.index(stop)]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "stop"
    assert finished.completion_tokens < 60


# -- neighbours ----------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_text_whoever_runs_beside_it(engine: Engine, listener: Listener) -> None:
    alone = text_of(list(engine.stream(request_for("alone", max_tokens=40, sampling=SAMPLED))))
    for name, content in (("n1", LONG_PROMPT), ("n2", "Bonjour"), ("n3", "Hola")):
        engine.submit(request_for(name, content, max_tokens=60, sampling=Sampling(temperature=1.2)))
    engine.submit(request_for("again", max_tokens=40, sampling=SAMPLED))
    listener.final("again")
    assert listener.text("again") == alone


def test_more_requests_than_places_are_served_in_their_order(engine: Engine, listener: Listener) -> None:
    names = [f"r{number}" for number in range(6)]
    for name in names:
        engine.submit(request_for(name, max_tokens=10))
    for name in names:
        assert isinstance(listener.final(name), Finished)
    began = [name for batch in listener.batches for name, event in batch if isinstance(event, Started)]
    assert began == names


def test_a_short_prompt_does_not_wait_for_a_long_one(engine: Engine, listener: Listener) -> None:
    engine.submit(request_for("long", "the river runs " * 330, max_tokens=5))
    engine.submit(request_for("short", max_tokens=5))
    assert isinstance(listener.final("long"), Finished)
    spoke = [name for batch in listener.batches for name, event in batch if isinstance(event, Text)]
    assert spoke[0] == "short"


def test_status_counts_who_runs_and_who_waits(engine: Engine, listener: Listener) -> None:
    both = threading.Event()
    spoke: set[str] = set()

    def note(request_id: str, event: Event) -> None:
        spoke.update([request_id] if isinstance(event, Text) else [])
        if spoke == {"a", "b"}:
            both.set()

    listener.at = note
    for name in ("a", "b", "c"):
        engine.submit(request_for(name, max_tokens=1500))
    assert both.wait(WAIT_S)
    (status,) = engine.models()
    assert (status.id, status.in_flight, status.queue_depth) == ("tiny", 2, 1)
    assert sorted(engine.running()) == ["a", "b", "c"]
    for name in ("a", "b", "c"):
        engine.cancel(name)
        listener.final(name)


def test_many_threads_submit_and_every_request_ends_once(engine: Engine, listener: Listener) -> None:
    def submit(thread: int) -> None:
        for number in range(10):
            engine.submit(request_for(f"{thread}-{number}", max_tokens=3 + number, sampling=SAMPLED))
            if number % 3 == 0:
                engine.cancel(f"{thread}-{number}")

    threads = [threading.Thread(target=submit, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in [f"{thread}-{number}" for thread in range(4) for number in range(10)]:
        listener.final(name)
    assert engine.running() == []


# -- cancel --------------------------------------------------------------------------------------


def cancel_at(engine: Engine, listener: Listener, kind: type[Event]) -> list[int]:  # type: ignore[valid-type]
    """Cancel each request at its first event of that kind; the list will hold the step in which the flag was set."""
    steps: list[int] = []

    def act(request_id: str, event: Event) -> None:
        if isinstance(event, kind) and not steps:  # type: ignore[arg-type]
            steps.append(engine.step)
            assert engine.cancel(request_id)

    listener.at = act
    return steps


def test_cancel_while_it_decodes_ends_within_one_step(
    engine: Engine, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="inference.engine")
    steps = cancel_at(engine, listener, Text)
    engine.submit(request_for("one", max_tokens=1500))
    final = listener.final("one")
    assert isinstance(final, Finished)
    assert (final.reason, final.completion_tokens) == ("cancelled", 1)
    assert final.prompt_tokens > 0
    assert f"request one: cancel flag set at step {steps[0]}" in caplog.text
    assert f"request one: ended by cancel at step {steps[0] + 1}" in caplog.text


def test_cancel_while_it_reads_its_prompt(engine: Engine, listener: Listener) -> None:
    cancel_at(engine, listener, Started)
    engine.submit(request_for("one", LONG_PROMPT, max_tokens=1500))
    final = listener.final("one")
    assert isinstance(final, Finished)
    assert (final.reason, final.completion_tokens) == ("cancelled", 0)
    assert final.prompt_tokens > 512
    assert listener.events["one"] == [Started(final.prompt_tokens), final]


def test_cancel_while_it_waits_bills_nothing(engine: Engine, listener: Listener) -> None:
    for name in ("a", "b", "waiting"):
        engine.submit(request_for(name, max_tokens=1500))
    assert engine.cancel("waiting")
    assert listener.final("waiting") == Finished("cancelled", 0, 0)
    assert {"a", "b"} <= set(engine.running())
    for name in ("a", "b"):
        engine.cancel(name)
        listener.final(name)


def test_cancel_of_what_is_not_here_says_so(engine: Engine, listener: Listener) -> None:
    assert not engine.cancel("nobody")
    engine.submit(request_for("one", max_tokens=1))
    listener.final("one")
    engine.unload("nothing")  # a call runs after the step that published, so the request is forgotten now
    assert not engine.cancel("one")


def test_closing_a_stream_cancels_it(engine: Engine) -> None:
    stream = engine.stream(request_for("one", max_tokens=1900))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    after = list(engine.stream(request_for("two", max_tokens=5)))
    assert isinstance(after[-1], Finished)
    assert engine.running() == []


# -- refusals and faults -------------------------------------------------------------------------


def test_a_prompt_over_the_limit_is_refused_with_the_exact_count(tmp_path: Path) -> None:
    with engine_on(tiny_model(tmp_path / "m", max_position_embeddings=64)) as engine:
        assert engine.models()[0].limit == Limit(64, 48, 16, "model")
        (event,) = engine.stream(request_for("one", "the river " * 30))
    assert isinstance(event, Failed)
    assert event.code == "context_length_exceeded"
    counted = event.diagnostics["prompt_len"]
    assert event.message == (
        f"This model's maximum context length is 48 tokens. However, your messages resulted in {counted} tokens."
    )
    assert event.diagnostics == {"prompt_len": counted, "max": 48, "model_id": "tiny"}
    assert isinstance(counted, int)
    assert counted > 48


def test_a_model_that_is_not_loaded_is_unavailable(engine: Engine, listener: Listener) -> None:
    engine.submit(request_for("one", model="other"))
    final = listener.final("one")
    assert isinstance(final, Failed)
    assert final.code == "service_unavailable"


def test_messages_that_make_no_prompt_fail_alone(engine: Engine, listener: Listener) -> None:
    engine.submit(GenerationRequest(id="bad", model="tiny", messages=[{"content": "no role"}]))
    final = listener.final("bad")
    assert isinstance(final, Failed)
    assert final.code is None
    assert "role" not in final.message
    assert isinstance(list(engine.stream(request_for("good", max_tokens=3)))[-1], Finished)


def test_a_fault_in_one_forward_fails_that_request_alone(
    engine: Engine, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    break_forward(engine, RuntimeError("shapes do not match, says a secret path"), prompts_longer_than=300)
    engine.submit(request_for("good", max_tokens=30))
    engine.submit(request_for("bad", LONG_PROMPT, max_tokens=30))
    failed, finished = listener.final("bad"), listener.final("good")
    assert isinstance(failed, Failed)
    assert failed.code is None
    assert "secret" not in failed.message
    assert "says a secret path" in caplog.text
    assert isinstance(finished, Finished)
    assert finished.completion_tokens == 30


def test_a_broken_device_ends_its_requests_and_is_rebuilt(
    engine: Engine, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    first_thread = engine._owner._thread
    break_forward(engine, RuntimeError("CUDA error: an illegal memory access was encountered"), prompts_longer_than=300)
    engine.submit(request_for("beside", max_tokens=1500))
    engine.submit(request_for("fatal", LONG_PROMPT, max_tokens=30))
    for name in ("beside", "fatal"):
        final = listener.final(name)
        assert isinstance(final, Failed)
        assert final.code == "service_unavailable"
    first_thread.join(WAIT_S)
    assert not first_thread.is_alive()
    engine.unload("nothing")  # returns when the new thread has brought the models back
    assert "tiny is loaded again" in caplog.text
    assert isinstance(list(engine.stream(request_for("after", LONG_PROMPT, max_tokens=3)))[-1], Finished)


def test_a_publisher_that_raises_does_not_stop_the_device(endless: Path) -> None:
    def refuse(_batch: Any) -> None:
        raise ConnectionError("nobody listens")

    engine = Engine("cpu", publish=refuse)
    engine.load("tiny", str(endless))
    engine.submit(request_for("unheard", max_tokens=3))
    assert isinstance(list(engine.stream(request_for("heard", max_tokens=3)))[-1], Finished)
    engine.close()


def test_unloading_ends_the_models_requests_first(engine: Engine, listener: Listener) -> None:
    for name in ("a", "b", "waiting"):
        engine.submit(request_for(name, max_tokens=1500))
    engine.unload("tiny")
    for name in ("a", "b", "waiting"):
        final = listener.events[name][-1]
        assert isinstance(final, Failed)
        assert final.code == "service_unavailable"
    assert engine.models() == []
    assert engine.running() == []


def test_closing_ends_every_request_and_refuses_the_next(engine: Engine, listener: Listener) -> None:
    engine.submit(request_for("one", max_tokens=1500))
    engine.close()
    engine.submit(request_for("late"))
    for name in ("one", "late"):
        final = listener.events[name][-1]
        assert isinstance(final, Failed)
        assert final.code == "service_unavailable"
    assert not engine._owner._thread.is_alive()


def test_memory_that_is_lost_is_found_out_when_nothing_runs(
    engine: Engine, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    engine._owner.call(lambda: engine._models["tiny"].runner.pool.take(1, after=None))
    with pytest.raises(AssertionError, match="blocks counted"):
        engine.check()
    engine.submit(request_for("one", max_tokens=3))
    assert isinstance(listener.final("one"), Finished)
    engine.unload("nothing")  # returns when the new thread has brought the models back
    assert "tiny is loaded again" in caplog.text
    engine.check()


def test_what_the_prompt_had_in_memory_is_told(engine: Engine) -> None:
    for name, cached_tokens in (("cold", 0), ("warm", 16)):
        events = list(engine.stream(request_for(name, max_tokens=3, account="a")))
        assert events[0] == Started(19, cached_tokens)
        assert events[-1] == Finished("length", 19, 3, cached_tokens)


def test_a_request_over_its_time_ends_wherever_it_is(endless: Path, listener: Listener) -> None:
    now = [0.0]
    engine = Engine("cpu", publish=listener, clock=lambda: now[0])
    engine.load("tiny", str(endless))

    def let_time_pass(_request_id: str, event: Event) -> None:
        if isinstance(event, Text) and event.completion_tokens >= 5:
            now[0] = 2.0

    listener.at = let_time_pass
    engine.submit(request_for("one", max_tokens=1500, timeout_s=1.5))
    final = listener.final("one")
    assert isinstance(final, Failed)
    assert "time limit" in final.message
    assert final.completion_tokens == 5
    engine.close()


def test_the_same_id_twice_is_one_request(engine: Engine, listener: Listener) -> None:
    engine.submit(request_for("one", max_tokens=400))
    engine.submit(request_for("one", max_tokens=400))
    listener.final("one")
    assert sum(isinstance(event, Started) for event in listener.events["one"]) == 1


def test_an_idle_engine_takes_no_steps(engine: Engine, listener: Listener) -> None:
    engine.submit(request_for("one", max_tokens=5))
    listener.final("one")
    engine.unload("nothing")
    steps = engine.step
    assert not threading.Event().wait(0.2)
    assert engine.step == steps


# -- parts ---------------------------------------------------------------------------------------


@contextmanager
def engine_on(folder: Path) -> Iterator[Engine]:
    """An engine with one model, `tiny`, closed at the end."""
    engine = Engine("cpu")
    engine.load("tiny", str(folder))
    try:
        yield engine
    finally:
        engine.close()


def break_forward(engine: Engine, fault: Exception, *, prompts_longer_than: int) -> None:
    """Make the loaded network raise whenever it reads that many tokens at once."""

    def raise_for_long(_module: object, _args: Any, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].shape[1] > prompts_longer_than:
            raise fault

    engine._models["tiny"].network.register_forward_pre_hook(raise_for_long, with_kwargs=True)
