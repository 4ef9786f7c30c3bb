"""A Completions body becomes a request, or a refusal that names the field; events become chunks or a whole answer."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.dialects.assembly import Assembly
from inference.dialects.completions.answer import CompletionsAnswer
from inference.dialects.completions.request import CompletionsRequest, parse
from inference.dialects.openai.usage import SYSTEM_FINGERPRINT
from inference.dialects.parsed import Terms
from inference.events import Ended, Event, Finished, PromptLogprobs, Started, Text, TokenLogprob
from inference.refusals import Refusal
from tests import golden
from tests.inference.chat.chat_stream import data_of

GOLDEN = Path(__file__).parent / "golden"


def request(**fields: object) -> CompletionsRequest:
    return parse(json.dumps({"model": "m", "prompt": "hello", **fields}).encode(), {}.get)


# -- what comes in ---------------------------------------------------------------------------------


def test_the_least_body_gets_the_defaults() -> None:
    asked = request()
    assert (asked.prompts, asked.n, asked.sequences) == (["hello"], 1, 1)
    assert (asked.max_tokens, asked.default_max_tokens) == (None, 16)
    nothing = "max_tokens temperature n best_of echo logprobs suffix stop seed stream stream_options logit_bias user"
    assert request(**dict.fromkeys(nothing.split())) == asked


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("", [""]),
        (["a", "b"], ["a", "b"]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
    ],
)
def test_a_prompt_is_a_text_texts_tokens_or_lists_of_tokens(prompt: object, prompts: object) -> None:
    asked = request(prompt=prompt)
    assert asked.prompts == prompts
    assert asked.generation(Terms("a", max_tokens=16, granted=None)).prompts == prompts


def test_it_pays_the_larger_of_n_and_best_of_for_every_prompt() -> None:
    assert request(prompt=["a", "b"], n=3).sequences == 6
    asked = request(prompt=["a", "b"], n=2, best_of=5)
    generation = asked.generation(Terms("a", max_tokens=4, granted=99))
    assert (asked.sequences, generation.n, generation.sequences) == (10, 5, 10)
    assert generation.sampling.logprobs == 0, "by which the best are known"
    assert not asked.logprobs


def test_echo_asks_for_the_prompts_log_probabilities_where_those_of_the_answer_are_wanted() -> None:
    generation = request(echo=True, logprobs=2, max_tokens=0).generation(Terms("a", max_tokens=0, granted=9))
    assert (generation.echo, generation.prompt_logprobs, generation.sampling.logprobs) == (True, 2, 2)
    assert request(echo=True).generation(Terms("a", max_tokens=1, granted=9)).prompt_logprobs is None
    assert request(logprobs=2).generation(Terms("a", max_tokens=1, granted=9)).prompt_logprobs is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": ["a", 5]}, "prompt"),
        ({"prompt": [[1], 2]}, "prompt"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": [2**40]}, "prompt[0]"),
        ({"prompt": [[True]]}, "prompt[0][0]"),
        ({"prompt": [{}]}, "prompt[0]"),
        ({"prompt": ["a"] * 600, "n": 2}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"best_of": 129}, "best_of"),
        ({"suffix": "end"}, "suffix"),
        ({"echo": "yes"}, "echo"),
        ({"stop": list("abcde")}, "stop"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
    ],
)
def test_a_wrong_field_is_400_and_named(fields: dict[str, object], param: str) -> None:
    with pytest.raises(Refusal) as refused:
        request(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)
    assert param.partition("[")[0] in refused.value.message


def test_what_the_engine_refuses_is_named_as_it_is_called_here() -> None:
    assert [request().param(field) for field in ("messages", "top_logprobs", "stop")] == ["prompt", "logprobs", "stop"]


def test_a_missing_model_has_its_own_code() -> None:
    with pytest.raises(Refusal) as refused:
        parse(b'{"prompt": "a"}', {}.get)
    assert refused.value.code == "missing_model_field"


# -- what goes out ---------------------------------------------------------------------------------


def token(text: str, logprob: float | None = -0.5, *top: TokenLogprob) -> TokenLogprob:
    return TokenLogprob(1, text.encode(), logprob, list(top))


def answer(**options: Any) -> CompletionsAnswer:
    chosen = {"prompts": 1, "n": 1, "logprobs": False, "include_usage": False, **options}
    return CompletionsAnswer("req_0a", model="m", created_s=7, **{"best_of": chosen["n"], **chosen})


def streamed(made: Sequence[Event], **options: Any) -> bytes:
    projection = answer(**options)
    frames = [
        projection.closing(event) if isinstance(event, Finished) else projection.content(event)  # type: ignore[arg-type]
        for event in made
    ]
    return b"".join([projection.opening(Started(3)), *frames])


def whole(made: Sequence[Event], **options: Any) -> dict[str, Any]:
    assembly, finished = Assembly(sum(isinstance(event, Ended) for event in made)), made[-1]
    for event in made[:-1]:
        assembly.add(event)  # type: ignore[arg-type]
    assert isinstance(finished, Finished)
    body: dict[str, Any] = json.loads(answer(**options).whole(assembly, Started(3), finished))
    return body


def answer_of(stream: bytes) -> dict[str, Any]:
    """The whole answer that a complete stream comes to."""
    *chunks, done = data_of(stream)
    assert done == "[DONE]"
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for chunk in map(json.loads, chunks):
        assert usage is None
        usage, pieces = chunk.pop("usage", None), chunk.pop("choices")
        for piece in pieces:
            _grow(choices, piece)
    assert all(choice["finish_reason"] for choice in choices.values())
    return {**chunk, "choices": [choices[index] for index in sorted(choices)], "usage": usage}


def _grow(choices: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    choice = choices.setdefault(piece["index"], {"index": piece["index"], "text": "", "logprobs": None})
    assert choice.get("finish_reason") is None, "nothing follows the end"
    choice["text"] += piece["text"]
    choice["finish_reason"] = piece["finish_reason"]
    if piece["logprobs"]:
        before = choice["logprobs"] or dict.fromkeys(piece["logprobs"], ())
        choice["logprobs"] = {name: [*before[name], *more] for name, more in piece["logprobs"].items()}


ECHOED: list[Event] = [
    PromptLogprobs([token("<s>", None), token("one")]),
    PromptLogprobs([token("two", -1.5, token("too", -1.0))], 1),
    PromptLogprobs([token(" é", -2.0)]),
    Text("one é", 0),
    Text("two", 0, 1),
    Text(" 🦊", 2, logprobs=[TokenLogprob(8, b" \xf0\x9f", -math.inf), TokenLogprob(9, b"\xa6\x8a", -0.1)]),
    Text("!", 3, 1, [token("!", -0.2)]),
    Ended(1, "stop", 3),
    Ended(0, "length", 4),
    Finished("length", 4, 4),
]
TRANSCRIPTS: dict[str, tuple[list[Event], dict[str, Any]]] = {
    "text": ([Text("a ", 1), Text('"b"', 2), Ended(0, "stop", 3), Finished("stop", 3, 3, 2)], {}),
    "nothing": ([Ended(0, "stop", 1), Finished("stop", 3, 1)], {}),
    "echo_of_two_prompts": (ECHOED, {"prompts": 2, "logprobs": True}),
    "include_usage": (
        [Text("a", 1), Text("b", 2, 1), Ended(0, "stop", 3), Ended(1, "length", 3), Finished("length", 3, 3)],
        {"n": 2, "include_usage": True},
    ),
}


@pytest.mark.golden
@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_an_answer_is_as_it_was_last_read(name: str) -> None:
    made, options = TRANSCRIPTS[name]
    body = json.dumps(whole(made, **options), indent=2, ensure_ascii=False)
    told = f"{streamed(made, **options).decode()}--- whole\n{body}\n".replace(SYSTEM_FINGERPRINT, "fp_release")
    golden.compare(GOLDEN / f"{name}.txt", told)


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_stream_comes_to_the_whole_answer(name: str) -> None:
    made, options = TRANSCRIPTS[name]
    assert answer_of(streamed(made, **options)) == whole(made, **options)


def test_every_token_says_where_it_begins_in_the_text() -> None:
    for choice in whole(ECHOED, prompts=2, logprobs=True)["choices"]:
        logprobs, text = choice["logprobs"], choice["text"]
        assert len({len(entries) for entries in logprobs.values()}) == 1
        for spelled, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
            assert text[offset:].startswith(spelled) or spelled == "<s>" or spelled.startswith("bytes:")
    first = whole(ECHOED, prompts=2, logprobs=True)["choices"][0]["logprobs"]
    assert (first["token_logprobs"][0], first["top_logprobs"][0]) == (None, None)
    assert first["token_logprobs"][3] == -9999.0


def test_the_best_are_those_whose_tokens_were_the_likeliest_on_average() -> None:
    made: list[Event] = []
    for index, logprobs in enumerate([[-1.0, -1.0], [-0.1], [-3.0, -0.1, -0.1], [-0.5]]):
        made += [Text(f"{index}", 1, index, [token("x", logprob) for logprob in logprobs]), Ended(index, "stop", 1)]
    best = whole([*made, Finished("stop", 3, 9)], prompts=2, n=1, best_of=2)
    assert [(choice["index"], choice["text"]) for choice in best["choices"]] == [(0, "1"), (1, "3")]
    assert best["choices"][0]["logprobs"] is None
    assert best["usage"]["completion_tokens"] == 9, "what was not chosen was made all the same"
    both = whole([*made, Finished("stop", 3, 9)], prompts=1, n=2, best_of=4)
    assert [choice["text"] for choice in both["choices"]] == ["1", "3"]


TEXTS = st.lists(st.text(max_size=8), max_size=5)
EXAMPLES = int(os.environ.get("HELEXA_EXAMPLES", "150"))


@settings(max_examples=EXAMPLES)
@given(echo=st.text(max_size=6), pieces=st.tuples(TEXTS, TEXTS), logprobs=st.booleans(), include_usage=st.booleans())
def test_any_split_of_an_answer_is_the_same_streamed_or_whole(
    echo: str, pieces: tuple[list[str], list[str]], logprobs: bool, include_usage: bool
) -> None:
    prompt = [PromptLogprobs([token("<s>", None), *map(token, echo)])] if logprobs else []
    made: list[Event] = [*prompt]
    for index, texts in enumerate(pieces):
        made += [Text(echo, 0, index)] if echo else []
        made += [Text(text, 0, index, list(map(token, text)) if logprobs else []) for text in texts]
        made.append(Ended(index, "stop", 0))
    made.append(Finished("stop", 3, 9))
    options = {"n": 2, "logprobs": logprobs, "include_usage": include_usage}
    body = whole(made, **options)
    assert [choice["text"] for choice in body["choices"]] == [echo + "".join(texts) for texts in pieces]
    assert answer_of(streamed(made, **options)) == body
