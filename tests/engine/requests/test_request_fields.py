"""What a request may ask for besides messages: other ends, prompts as text or tokens, log-probabilities; and limits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine import Engine
from inference.engine.loading import weights
from inference.engine.requests import sequence
from inference.events import Event, Failed, Finished, PromptLogprobs, Started, Text, TokenLogprob
from inference.policies import AdmissionPolicy
from inference.requests import GenerationRequest, Sampling, Tool, ToolUse
from tests.engine.conftest import Listener, request_for, text_of
from tests.models import tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
SEEDED = Sampling(seed=5, logprobs=2)


@pytest.fixture
def exact(endless: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """In float32, so that chunks and neighbours change no more than the last bits."""
    monkeypatch.setattr(weights, "DTYPE", torch.float32)
    engine = Engine("cpu", publish=listener, admission=AdmissionPolicy(max_in_flight=8), kv_tokens=512)
    engine.load("tiny", str(endless))
    yield engine
    engine.close()


def answer(engine: Engine, request_id: str, **fields: Any) -> list[Event]:
    return list(engine.stream(request_for(request_id, **fields)))


def logprobs_of(events: list[Event], index: int = 0) -> list[TokenLogprob]:
    return [each for event in events if isinstance(event, Text) and event.index == index for each in event.logprobs]


def told_of(events: list[Event]) -> list[TokenLogprob]:
    return [each for event in events if isinstance(event, PromptLogprobs) for each in event.tokens]


def reference(engine: Engine, ids: list[int]) -> torch.Tensor:
    """Log-probabilities by transformers' own attention: row `i` is of the token behind `ids[i]`."""
    from transformers import AutoModelForCausalLM

    loader: Any = AutoModelForCausalLM
    network = loader.from_pretrained(engine._models["tiny"].folder, dtype=torch.float32)
    with torch.inference_mode():
        return network(torch.tensor([ids])).logits[0].log_softmax(-1)


# -- ends ----------------------------------------------------------------------------------------


def test_an_end_token_is_an_ordinary_one_where_it_is_ignored(tmp_path: Path) -> None:
    engine = Engine("cpu")
    engine.load("tiny", str(tiny_model(tmp_path / "m")))
    sampling = Sampling(temperature=0, logit_bias={TOKENIZER.convert_tokens_to_ids("<|im_end|>"): 100.0})
    finished = answer(engine, "ended", max_tokens=20, sampling=sampling)[-1]
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.completion_tokens) == ("stop", 1)
    finished = answer(engine, "ignored", max_tokens=20, sampling=sampling, ignore_eos=True)[-1]
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.completion_tokens) == ("length", 20)
    engine.close()


def test_a_stop_token_ends_the_answer_and_does_not_show(engine: Engine) -> None:
    sampling = Sampling(temperature=0, logprobs=0)
    whole = answer(engine, "whole", max_tokens=30, sampling=sampling)
    tokens = [each.token for each in logprobs_of(whole)]
    stop = tokens[12]
    events = answer(engine, "stopped", max_tokens=30, sampling=sampling, stop_token_ids=[stop])
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.completion_tokens) == ("stop", tokens.index(stop) + 1)
    assert [each.token for each in logprobs_of(events)] == tokens[: tokens.index(stop)]
    assert text_of(events) == TOKENIZER.decode(tokens[: tokens.index(stop)])


# -- prompts -------------------------------------------------------------------------------------


def test_a_prompt_is_text_or_its_tokens_and_passes_no_template(engine: Engine) -> None:
    text = "<|im_start|>The river runs"
    ids = TOKENIZER.encode(text)
    by_text = answer(engine, "text", max_tokens=20, prompts=[text])
    by_ids = answer(engine, "ids", max_tokens=20, prompts=[ids])
    assert by_text[0] == by_ids[0] == Started(len(ids))
    assert text_of(by_text) == text_of(by_ids) != ""


@pytest.mark.parametrize("prompt", ["", []])
def test_a_prompt_of_nothing_is_refused(engine: Engine, prompt: Any) -> None:
    (refused,) = answer(engine, "one", prompts=[prompt])
    assert isinstance(refused, Failed)
    assert (refused.code, refused.param) == ("invalid_value", "prompt")


# -- tools and template fields -------------------------------------------------------------------


def test_tools_that_the_template_cannot_tell_of_refuse_the_request(engine: Engine, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m")
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    engine.load("plain", str(folder))
    (refused,) = answer(engine, "one", model="plain", tool_use=ToolUse(tools=[Tool("clock")]))
    assert isinstance(refused, Failed)
    assert (refused.code, refused.param) == ("template_render_failed", "tools")
    assert refused.diagnostics == {"model_id": "plain"}
    assert isinstance(answer(engine, "two", model="plain", max_tokens=3)[-1], Finished)


def test_tools_lengthen_the_prompt(engine: Engine) -> None:
    without, with_tools = (
        answer(engine, name, max_tokens=1, tool_use=use)[0]
        for name, use in (("without", None), ("with", ToolUse(tools=[Tool("clock", "Tells the time.")])))
    )
    assert isinstance(without, Started)
    assert isinstance(with_tools, Started)
    assert with_tools.prompt_tokens > without.prompt_tokens + 20


def test_a_tool_whose_parameters_are_no_schema_is_refused(engine: Engine) -> None:
    (refused,) = answer(engine, "one", tool_use=ToolUse(tools=[Tool("clock", parameters="[1]")]))
    assert isinstance(refused, Failed)
    assert (refused.code, refused.param) == ("invalid_value", "tools")


@pytest.mark.parametrize("field", ["messages", "tools", "add_generation_prompt", "self"])
def test_what_the_prompt_is_made_of_is_not_a_clients_to_set(engine: Engine, field: str) -> None:
    (refused,) = answer(engine, "one", template_kwargs={field: [], "own": 1})
    assert isinstance(refused, Failed)
    assert (refused.code, refused.param) == ("invalid_value", "chat_template_kwargs")


# -- log-probabilities ---------------------------------------------------------------------------


def test_log_probabilities_are_those_of_the_model_for_the_text_that_is_shown(exact: Engine) -> None:
    prompt = TOKENIZER.encode("The river runs")
    events = answer(exact, "one", prompts=[prompt], max_tokens=25, sampling=SEEDED)
    given = logprobs_of(events)
    tokens = [each.token for each in given]
    assert len(tokens) == 25
    assert b"".join(each.spelling for each in given).decode() == text_of(events)
    expected = reference(exact, [*prompt, *tokens])[len(prompt) - 1 :]
    for row, each in zip(expected, given, strict=False):
        assert each.logprob == pytest.approx(float(row[each.token]), abs=1e-4)
        assert [top.logprob for top in each.top] == pytest.approx(row.topk(2).values.tolist(), abs=1e-4)
        assert [top.token for top in each.top] == row.topk(2).indices.tolist()


def test_every_choice_has_its_own_and_none_come_unasked(engine: Engine) -> None:
    events = answer(engine, "two", n=2, max_tokens=10, sampling=SEEDED)
    assert [len(logprobs_of(events, index)) for index in range(2)] == [10, 10]
    assert not logprobs_of(answer(engine, "none", max_tokens=10))


def test_the_prompts_own_come_once_in_order_a_step_at_a_time(exact: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits of a part of the prompt at a time, however long it is; the choices after the first add nothing."""
    monkeypatch.setattr(sequence, "_PROMPT_LOGITS_BYTES", 4 * 384 * 16)
    forwards: list[int] = []
    exact._models["tiny"].network.register_forward_pre_hook(
        lambda _module, _args, kwargs: forwards.append(len(kwargs["logits_to_keep"])), with_kwargs=True
    )
    prompt = TOKENIZER.encode("the river runs past the old town " * 8)
    events = answer(exact, "one", prompts=[prompt], n=3, max_tokens=4, prompt_logprobs=1, sampling=SEEDED)
    given = told_of(events)
    assert [each.token for each in given] == prompt
    assert (given[0].logprob, given[0].top) == (None, [])
    expected = reference(exact, prompt)
    for row, each in zip(expected, given[1:], strict=False):
        assert each.logprob == pytest.approx(float(row[each.token]), abs=1e-4)
        assert [top.token for top in each.top] == [int(row.argmax())]
    assert max(forwards) <= 16
    kinds = [type(event) for event in events]
    assert kinds.count(PromptLogprobs) >= len(prompt) // 16
    assert PromptLogprobs not in kinds[kinds.index(Text) :]
    assert isinstance(events[-1], Finished)
    assert events[-1].completion_tokens == 12


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_a_prompt_can_be_scored_alone(exact: Engine, max_tokens: int) -> None:
    prompt = TOKENIZER.encode("The old town")
    events = answer(exact, "one", prompts=[prompt], max_tokens=max_tokens, prompt_logprobs=0)
    assert [each.token for each in told_of(events)] == prompt
    assert events[-1] == Finished("length", len(prompt), max_tokens)


def test_a_prompt_that_gives_way_is_told_of_once(exact: Engine, listener: Listener) -> None:
    prompt = "the river runs " * 10
    names = [f"r{number}" for number in range(6)]
    for name in names:
        exact.submit(request_for(name, prompt, max_tokens=120, prompt_logprobs=0))
    for name in names:
        final = listener.final(name)
        assert isinstance(final, Finished)
        assert len(told_of(listener.events[name])) == final.prompt_tokens
        for one, other in zip(told_of(listener.events[name])[1:], told_of(listener.events["r0"])[1:], strict=True):
            assert one.token == other.token
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"sampling": Sampling(logit_bias={384: 1.0})}, "logit_bias"),
        ({"sampling": Sampling(logit_bias={-1: 1.0})}, "logit_bias"),
        ({"sampling": Sampling(logit_bias={3: math.inf})}, "logit_bias"),
        ({"sampling": Sampling(logit_bias={3: 1e39})}, "logit_bias"),
        ({"sampling": Sampling(temperature=-1.0)}, "temperature"),
        ({"sampling": Sampling(temperature=math.nan)}, "temperature"),
        ({"sampling": Sampling(top_p=1.5)}, "top_p"),
        ({"sampling": Sampling(min_p=2.0)}, "min_p"),
        ({"sampling": Sampling(presence_penalty=math.nan)}, "presence_penalty"),
        ({"sampling": Sampling(frequency_penalty=math.inf)}, "frequency_penalty"),
        ({"sampling": Sampling(repetition_penalty=0.0)}, "repetition_penalty"),
        ({"n": 0}, "n"),
        ({"n": 0, "prompts": ["a", "b"]}, "n"),
        ({"timeout_s": math.nan}, "timeout_s"),
        ({"stop_token_ids": [3, 999]}, "stop_token_ids"),
        ({"prompts": [[3, 384]]}, "prompt"),
        ({"sampling": Sampling(logprobs=21)}, "top_logprobs"),
        ({"prompt_logprobs": -1}, "logprobs"),
    ],
)
def test_what_the_model_cannot_take_is_refused_by_its_name(engine: Engine, fields: dict[str, Any], param: str) -> None:
    (refused,) = engine.stream(GenerationRequest(id="one", model="tiny", **fields))
    assert isinstance(refused, Failed)
    assert (refused.code, refused.param) == ("invalid_value", param)
    assert f"`{param}`" in refused.message
