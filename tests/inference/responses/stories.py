"""Events as an engine would make them, one story for each thing that a response can be."""

from __future__ import annotations

from typing import Any, NamedTuple

from inference.dialects.responses.answer import ResponsesAnswer
from inference.dialects.responses.request import parse
from inference.events import (
    CallArguments,
    CallBegun,
    Ended,
    Finished,
    Piece,
    Reasoning,
    Started,
    Text,
    TokenLogprob,
)
from inference.refusals import Refusal, unavailable
from tests.inference.responses.test_request import PATCH, WEATHER, body

STARTED = Started(9, 4)


class Story(NamedTuple):
    asked: dict[str, Any]
    pieces: list[Piece | Ended]
    end: Finished | Refusal


def _finished(reason: Any = "stop", reasoning_tokens: int = 0) -> Finished:
    return Finished(reason, 9, 7, 4, reasoning_tokens)


FILES = {"type": "namespace", "name": "files", "description": "", "tools": [{"type": "function", "name": "read"}]}
THINKING = {"reasoning": {"effort": "low"}}
LOGPROBS = [TokenLogprob(5, b"H", -0.5, [TokenLogprob(5, b"H", -0.5)]), TokenLogprob(6, b"i", float("-inf"))]

STORIES: dict[str, Story] = {
    "text": Story({}, [Text("Hello", 1), Text(' "you"\n', 2), Ended(0, "stop", 3)], _finished()),
    "nothing": Story({}, [Ended(0, "stop", 1)], _finished()),
    "length": Story({"max_output_tokens": 7}, [Text("Hel", 1), Ended(0, "length", 7)], _finished("length")),
    "logprobs": Story({"top_logprobs": 1}, [Text("Hi", 2, logprobs=LOGPROBS), Ended(0, "stop", 2)], _finished()),
    "json": Story(
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}}},
        [Text('{"a":', 1), Text("1}", 2), Ended(0, "stop", 3)],
        _finished(),
    ),
    "reasoning": Story(
        THINKING | {"include": ["reasoning.encrypted_content"]},
        [Reasoning("Let me", 1, 1), Reasoning(" see.", 2, 2), Text("Yes.", 3), Ended(0, "stop", 4)],
        _finished(reasoning_tokens=2),
    ),
    "summary": Story(
        {"reasoning": {"effort": "low", "summary": "auto"}},
        [Reasoning("Let me see.", 1, 1), Text("Yes.", 3), Ended(0, "stop", 4)],
        _finished(reasoning_tokens=1),
    ),
    "unseen_reasoning": Story(
        {}, [Reasoning("Let me see.", 1, 1), Text("Yes.", 3), Ended(0, "stop", 4)], _finished(reasoning_tokens=1)
    ),
    "call": Story(
        {"tools": [WEATHER]},
        [
            Text("A moment.", 1),
            CallBegun("weather", 2),
            CallArguments('{"city": "Bonn"}', 5),
            Ended(0, "tool_calls", 7),
        ],
        _finished("tool_calls"),
    ),
    "parallel_calls": Story(
        {"tools": [WEATHER, FILES], **THINKING},
        [
            Reasoning("Two.", 1, 1),
            CallBegun("weather", 2),
            CallArguments("{}", 3),
            CallBegun("files__read", 4, call=1),
            CallArguments('{"path": "a"}', 5, call=1),
            CallBegun("undeclared", 6, call=2),
            CallArguments("{}", 6, call=2),
            Ended(0, "tool_calls", 7),
        ],
        _finished("tool_calls", 1),
    ),
    "forced_call": Story(
        {"tools": [WEATHER], "tool_choice": "required"},
        [CallBegun("weather", 1), CallArguments('{"ci', 2), CallArguments('ty": "Bo', 3), Ended(0, "length", 7)],
        _finished("length"),
    ),
    "custom_call": Story(
        {"tools": [PATCH]},
        [
            CallBegun("apply_patch", 1),
            CallArguments('{"input": "*** Begin', 2),
            CallArguments('\\n+\\"x\\""}', 3),
            Ended(0, "tool_calls", 7),
        ],
        _finished("tool_calls"),
    ),
    "error_before": Story({}, [], unavailable("No neuron is healthy now.", retry_after_s=5)),
    "error_midway": Story(
        THINKING,
        [Reasoning("Let me see.", 1, 1), Text("Ye", 3)],
        Refusal("Waited too long.", code="rate_limit_exceeded", status=503),
    ),
}

DIGITS = "0193" + "ab" * 14


def answer_for(story: Story) -> ResponsesAnswer:
    request = parse(body(stream=True, **story.asked)).complete()
    answer = request.answer(DIGITS, model="m", created_s=1_700_000_000)
    answer.clock = lambda: 1_700_000_009.5
    return answer


def stream_of(story: Story) -> tuple[bytes, ResponsesAnswer]:
    """All bytes of the stream, and the answer as it is then."""
    answer = answer_for(story)
    sent = b"" if story.end is STORIES["error_before"].end else answer.opening(STARTED)
    sent += b"".join(answer.content(piece) for piece in story.pieces)
    sent += answer.broken(story.end) if isinstance(story.end, Refusal) else answer.closing(story.end)
    return sent, answer
