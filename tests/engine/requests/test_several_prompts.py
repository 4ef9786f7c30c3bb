"""Several prompts in one request: each read once, continued by its choices, and shown in front of them if asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine import Engine
from inference.engine.loading import weights
from inference.events import Ended, Event, Failed, Finished, PromptLogprobs, Started, Text
from inference.policies import AdmissionPolicy
from inference.requests import Sampling
from tests.engine.conftest import Listener, request_for
from tests.models import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
PROMPTS: list[Any] = ["The river runs past the old town", "Who?", TOKENIZER.encode("A token is a piece of text")]
TOKENS = sum(len(TOKENIZER.encode(prompt)) if isinstance(prompt, str) else len(prompt) for prompt in PROMPTS)
SEEDED = Sampling(seed=11)


@pytest.fixture
def exact(endless: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """In float32, so that neighbours decide nothing."""
    monkeypatch.setattr(weights, "DTYPE", torch.float32)
    engine = Engine("cpu", publish=listener, admission=AdmissionPolicy(max_in_flight=4), proves_when_idle=True)
    engine.load("tiny", str(endless))
    yield engine
    engine.check()
    engine.close()


def answer(engine: Engine, request_id: str, **fields: Any) -> list[Event]:
    return list(engine.stream(request_for(request_id, **fields)))


def texts_of(events: list[Event]) -> dict[int, str]:
    texts: dict[int, str] = {}
    for event in events:
        if isinstance(event, Text):
            texts[event.index] = texts.get(event.index, "") + event.text
    return texts


@pytest.mark.parametrize("sampling", [Sampling(temperature=0), SEEDED])
def test_each_prompt_is_answered_as_if_it_were_alone(exact: Engine, sampling: Sampling) -> None:
    events = answer(exact, "all", prompts=PROMPTS, n=2, max_tokens=12, sampling=sampling)
    texts = texts_of(events)
    assert sorted(texts) == list(range(6))
    for number, prompt in enumerate(PROMPTS):
        alone = texts_of(answer(exact, f"alone {number}", prompts=[prompt], n=2, max_tokens=12, sampling=sampling))
        assert [texts[2 * number], texts[2 * number + 1]] == [alone[0], alone[1]]


def test_the_prompts_are_counted_together_and_read_once_each(exact: Engine) -> None:
    read: list[int] = []
    exact._models["tiny"].network.register_forward_pre_hook(
        lambda _module, _args, kwargs: read.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    events = answer(exact, "all", prompts=PROMPTS, n=2, max_tokens=5)
    assert events[0] == Started(TOKENS)
    assert events[-1] == Finished("length", TOKENS, 6 * 5)
    assert sorted(event.index for event in events if isinstance(event, Ended)) == list(range(6))
    # Of an answer the last token is not read; of a prompt the last one is, by each choice that shares it.
    assert sum(read) == TOKENS + 6 * 4 + 3


def test_what_was_in_memory_is_counted_over_all_prompts(exact: Engine) -> None:
    long = "The river runs past the old town and under three bridges to the sea. " * 2
    answer(exact, "first", prompts=[long, "Who? " + long], max_tokens=1)
    finished = answer(exact, "second", prompts=[long, "Who? " + long], max_tokens=1)[-1]
    alone = answer(exact, "alone", prompts=[long], max_tokens=1)[-1]
    assert isinstance(finished, Finished)
    assert isinstance(alone, Finished)
    assert finished.cached_tokens >= 2 * alone.cached_tokens > 0


def test_an_echo_puts_each_prompt_in_front_of_its_choices_and_costs_nothing(exact: Engine) -> None:
    plain = answer(exact, "plain", prompts=PROMPTS, n=2, max_tokens=6)
    echoed = answer(exact, "echoed", prompts=PROMPTS, n=2, max_tokens=6, echo=True)
    texts, shown = texts_of(plain), [PROMPTS[0], PROMPTS[1], TOKENIZER.decode(PROMPTS[2])]
    assert texts_of(echoed) == {index: shown[index // 2] + texts[index] for index in range(6)}
    assert echoed[-1] == plain[-1]
    counts = [event.completion_tokens for event in echoed if isinstance(event, Text | Ended | Finished)]
    assert counts == sorted(counts)


def test_an_echo_alone_samples_nothing(exact: Engine) -> None:
    events = answer(exact, "one", prompts=["Who?"], max_tokens=0, echo=True)
    tokens = len(TOKENIZER.encode("Who?"))
    assert events == [Started(tokens), Text("Who?", 0), Ended(0, "length", 0), Finished("length", tokens, 0)]


def test_no_tokens_fill_the_memory_for_whoever_comes_next(exact: Engine) -> None:
    content = "The river runs past the old town and under three bridges. "
    first = answer(exact, "first", content=content, max_tokens=0)
    assert [type(event) for event in first] == [Started, Ended, Finished]
    second = answer(exact, "second", content=content, max_tokens=1)[0]
    assert isinstance(second, Started)
    assert second.cached_tokens > second.prompt_tokens - 17  # whole blocks of 16, the last token left out


def test_log_probabilities_name_their_prompt(exact: Engine) -> None:
    events = answer(exact, "one", prompts=PROMPTS, n=2, max_tokens=2, echo=True, prompt_logprobs=0)
    told: dict[int, list[int]] = {}
    for event in events:
        if isinstance(event, PromptLogprobs):
            told.setdefault(event.prompt, []).extend(each.token for each in event.tokens)
    assert told == {0: TOKENIZER.encode(PROMPTS[0]), 1: TOKENIZER.encode("Who?"), 2: PROMPTS[2]}


# -- limits --------------------------------------------------------------------------------------


def test_a_grant_that_fits_exactly_is_used_to_its_end(exact: Engine) -> None:
    granted = TOKENS + 6 * 7
    events = answer(exact, "fits", prompts=PROMPTS, n=2, max_tokens=7, granted=granted)
    assert events[-1] == Finished("length", TOKENS, 6 * 7)
    (refused,) = answer(exact, "over", prompts=PROMPTS, n=2, max_tokens=7, granted=granted - 1)
    assert isinstance(refused, Failed)
    assert refused.code == "grant_exceeded"
    assert refused.diagnostics == {"prompt_tokens": TOKENS, "bound": 7}


def test_no_sequence_samples_past_its_share_of_the_grant(exact: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.grants.refusal", lambda *_args, **_fields: None)
    events = answer(exact, "one", prompts=PROMPTS, n=2, max_tokens=50, granted=TOKENS + 6 * 4 + 5)
    assert events[-1] == Finished("length", TOKENS, 6 * 4)


def test_one_prompt_that_is_too_long_or_empty_refuses_them_all(exact: Engine) -> None:
    (refused,) = answer(exact, "long", prompts=["Who?", [1] * 3000])
    assert isinstance(refused, Failed)
    assert refused.code == "context_length_exceeded"
    assert refused.diagnostics["prompt_len"] == 3000
    (refused,) = answer(exact, "empty", prompts=["Who?", ""])
    assert isinstance(refused, Failed)
    assert refused.param == "prompt"


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"prompts": ["Who?"] * 513, "n": 2}, "n"), ({"max_tokens": -1}, "max_tokens"), ({"echo": True}, "echo")],
)
def test_what_no_answer_can_be_given_to_is_refused(exact: Engine, fields: dict[str, Any], param: str) -> None:
    (refused,) = answer(exact, "one", **fields)
    assert isinstance(refused, Failed)
    assert (refused.code, refused.param) == ("invalid_value", param)


def test_a_cancelled_request_is_billed_the_prompts_that_were_begun(exact: Engine, listener: Listener) -> None:
    def cancel(request_id: str, event: Event) -> None:
        if isinstance(event, Text):
            exact.cancel(request_id)

    listener.at = cancel
    long = TOKENIZER.encode("The river runs past the old town. " * 8)
    exact.submit(request_for("one", prompts=[long] * 9, max_tokens=500))  # there are four places
    final = listener.final("one")
    assert isinstance(final, Finished)
    assert final.reason == "cancelled"
    assert final.prompt_tokens % len(long) == 0
    assert 0 < final.prompt_tokens <= 4 * len(long)
