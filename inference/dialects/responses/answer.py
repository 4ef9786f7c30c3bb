"""Engine events as a Responses stream or as the whole response object, which also is what is stored (WIRE_APIS 3.2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from inference.dialects.assembly import Assembly, Choice
from inference.dialects.dialect import Content
from inference.dialects.responses.output import Event, Output, Shown
from inference.dialects.responses.tools import Offered
from inference.events import CallArguments, CallBegun, Ended, Finished, Piece, PromptLogprobs, Reasoning, Started, Text
from inference.refusals import Refusal

_encode = msgspec.json.Encoder().encode

#: Codes of ours that clients know in `response.error`; any other is a `server_error` that names it.
FAILURE_CODES = {"rate_limit_exceeded", "insufficient_quota", "context_length_exceeded"}


def response_id(digits: str) -> str:
    return f"resp_{digits}"


class ResponsesAnswer:
    """One response. Everything it sends has the next number, and every snapshot in it is the response as it is then.

    Its whole object can be had at every moment, so that it can be stored whichever way it ends.
    """

    def __init__(
        self,
        digits: str,
        *,
        model: str,
        created_s: int,
        echo: Mapping[str, Any],
        offered: Mapping[str, Offered],
        shown: Shown,
        told: bool = True,
    ) -> None:
        """With `told` false nobody reads its events, and none are written out."""
        self.id = response_id(digits)
        self.created_s = created_s
        self._model = model
        self._told = told
        self._echo = echo
        self.clock: Callable[[], float] = time.time
        self._output = Output(digits, offered=offered, shown=shown)
        self._next_number = 0
        self._begun = False
        self._reason = "stop"
        self._started: Started | None = None
        self._ending: dict[str, Any] = {}
        self.status = "in_progress"

    # -- the stream ------------------------------------------------------------------------------

    def queued(self) -> list[bytes]:
        """How a background response begins, before anything is known of its turn."""
        self.status = "queued"
        self._begun = True
        return self._frames([("response.created", self._snapshot()), ("response.queued", self._snapshot())])

    def opening(self, started: Started) -> bytes:
        return b"".join(self.begin(started))

    def begin(self, started: Started | None = None) -> list[bytes]:
        """`response.created`, unless it has been sent, and `response.in_progress`."""
        self._started, self.status = started, "in_progress"
        created: list[Event] = [] if self._begun else [("response.created", self._snapshot())]
        self._begun = True
        return self._frames([*created, ("response.in_progress", self._snapshot())])

    def content(self, event: Content) -> bytes:
        return b"".join(self.add(event))

    def add(self, event: Content) -> list[bytes]:
        if isinstance(event, PromptLogprobs):
            return []
        if isinstance(event, Ended):
            self._reason = event.reason
            return self._frames(self._output.end(event))
        return self._frames(self._output.add(event))

    def closing(self, finished: Finished) -> bytes:
        return b"".join(self.finish(finished))

    def finish(self, finished: Finished) -> list[bytes]:
        """`response.completed`, or `response.incomplete` where the bound was reached."""
        self.status = "incomplete" if self._reason == "length" else "completed"
        self._ending = {"usage": usage_of(finished)}
        if self.status == "incomplete":
            self._ending["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            self._ending["completed_at"] = int(self.clock())
        return self._frames([(f"response.{self.status}", self._snapshot())])

    def broken(self, refusal: Refusal) -> bytes:
        return b"".join(self.fail(refusal))

    def fail(self, refusal: Refusal) -> list[bytes]:
        """An `error`, in the two shapes that clients read, and `response.failed` with what was made."""
        begun = [] if self._begun else self.begin()
        self._output.abandon()
        self.status = "failed"
        self._ending = {"error": {"code": failure_code(refusal), "message": failure_message(refusal)}}
        error = {"code": refusal.code, "message": refusal.message, "param": refusal.param}
        told = {**error, "error": {"type": failure_code(refusal), **error}}
        return [*begun, *self._frames([("error", told), ("response.failed", self._snapshot())])]

    def keep_alive(self) -> bytes:
        return b": keep-alive\n\n"

    # -- the whole -------------------------------------------------------------------------------

    def whole(self, assembly: Assembly, started: Started, finished: Finished) -> bytes:
        self.begin(started)
        (choice,) = assembly.choices
        for event in events_of(choice):
            self.add(event)
        self.finish(finished)
        return self.encoded()

    def encoded(self) -> bytes:
        return _encode(self.object())

    def object(self) -> dict[str, Any]:
        """The response object as it is now, every key of it."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_s,
            "status": self.status,
            "model": self._model,
            "output": self._output.items(),
            "error": None,
            "incomplete_details": None,
            "usage": None,
            "completed_at": None,
            **self._echo,
            **self._ending,
        }

    def give_up(self, finished: Finished | None = None) -> None:
        """Nobody waits for it any more: it stays incomplete, with what was made."""
        self._leave("incomplete", finished)

    def cancel(self, finished: Finished | None = None) -> None:
        self._leave("cancelled", finished)

    def _leave(self, status: str, finished: Finished | None) -> None:
        self._output.abandon()
        self.status = status
        self._ending = {"usage": usage_of(finished) if finished else None}

    def _snapshot(self) -> dict[str, Any]:
        return {"response": self.object()}

    def _frames(self, events: Iterable[Event]) -> list[bytes]:
        """Each event as its bytes on the wire, numbered."""
        frames = []
        for type_, fields in events:
            if not self._told:
                continue
            data = _encode({"type": type_, "sequence_number": self._next_number, **fields})
            frames.append(b"event: " + type_.encode() + b"\ndata: " + data + b"\n\n")
            self._next_number += 1
        return frames


class CountAnswer(ResponsesAnswer):
    """What `input_tokens` answers: the prompt, and no response to it."""

    def whole(self, assembly: Assembly, started: Started, finished: Finished) -> bytes:
        return _encode({"object": "response.input_tokens", "input_tokens": started.prompt_tokens})


def usage_of(finished: Finished) -> dict[str, Any]:
    return {
        "input_tokens": finished.prompt_tokens,
        "input_tokens_details": {"cached_tokens": finished.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": finished.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": finished.reasoning_tokens},
        "total_tokens": finished.prompt_tokens + finished.completion_tokens,
    }


def failure_code(refusal: Refusal) -> str:
    return refusal.code if refusal.code in FAILURE_CODES else "server_error"


def failure_message(refusal: Refusal) -> str:
    """The sentence, led by our own code where the closed set has no word for it."""
    known = refusal.code is None or refusal.code in FAILURE_CODES
    return refusal.message if known else f"{refusal.code}: {refusal.message}"


def events_of(choice: Choice) -> Iterable[Piece | Ended]:
    """A choice that was put together, as the fewest events that come to the same items."""
    call = 0
    for passage in choice.passages:
        if passage.kind == "call":
            yield CallBegun(passage.name, 0, call=call)
            yield CallArguments(passage.text, 0, call=call)
            call += 1
        elif passage.kind == "reasoning":
            yield Reasoning(passage.text, 0, 0)
        else:
            yield Text(passage.text, 0, logprobs=passage.logprobs)
    yield Ended(0, choice.reason, 0, choice.stop)
