"""The output items of one response as they grow, and the named events that tell of them (WIRE_APIS 3.3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from inference.dialects.openai.custom_tools import input_of
from inference.dialects.openai.logprobs import logprobs_of
from inference.dialects.responses.items import seal
from inference.dialects.responses.names import flat_name
from inference.dialects.responses.tools import Offered
from inference.events import CallArguments, CallBegun, Ended, Piece, Reasoning, Text

#: A named event before it has its number: type and fields.
Event = tuple[str, dict[str, Any]]


class Shown(NamedTuple):
    """How a client sees what was thought: not at all, as text, as a summary; `sealed` adds it in an opaque form."""

    reasoning: bool = False
    as_summary: bool = False
    sealed: bool = False


class Growing(ABC):
    """An item that is being made. `begin`, `more` and `end` are its events; `as_it_is` is what there is of it."""

    def __init__(self, item_id: str, output_index: int) -> None:
        self.id = item_id
        self.status = "in_progress"
        self._at = {"item_id": item_id, "output_index": output_index}
        self._index = output_index
        self._text = ""

    def begin(self) -> Iterator[Event]:
        yield "response.output_item.added", {"output_index": self._index, "item": self.as_it_is()}

    @abstractmethod
    def more(self, piece: Any) -> Iterator[Event]: ...

    def end(self, status: str) -> Iterator[Event]:
        self.status = status
        yield "response.output_item.done", {"output_index": self._index, "item": self.as_it_is()}

    @abstractmethod
    def as_it_is(self) -> dict[str, Any]: ...


class Message(Growing):
    """Its one part is there from its first piece on."""

    def __init__(self, item_id: str, output_index: int) -> None:
        super().__init__(item_id, output_index)
        self._at["content_index"] = 0
        self._logprobs: list[dict[str, Any]] = []
        self._begun = False

    def begin(self) -> Iterator[Event]:
        yield from super().begin()
        self._begun = True
        yield "response.content_part.added", {**self._at, "part": self._part()}

    def more(self, piece: Text) -> Iterator[Event]:
        logprobs = logprobs_of(piece.logprobs)
        self._text += piece.text
        self._logprobs += logprobs
        yield "response.output_text.delta", {**self._at, "delta": piece.text, "logprobs": logprobs}

    def end(self, status: str) -> Iterator[Event]:
        yield "response.output_text.done", {**self._at, "text": self._text, "logprobs": self._logprobs}
        yield "response.content_part.done", {**self._at, "part": self._part()}
        yield from super().end(status)

    def _part(self) -> dict[str, Any]:
        return {"type": "output_text", "text": self._text, "annotations": [], "logprobs": self._logprobs}

    def as_it_is(self) -> dict[str, Any]:
        content = [self._part()] if self._begun else []
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "status": self.status,
            "content": content,
        }


class Thoughts(Growing):
    """A reasoning item, its text shown as such or as a summary."""

    def __init__(self, item_id: str, output_index: int, shown: Shown) -> None:
        super().__init__(item_id, output_index)
        self._shown = shown
        self._kind = "summary_text" if shown.as_summary else "reasoning_text"
        self._name = "response.reasoning_summary_text" if shown.as_summary else "response.reasoning_text"
        self._part_name = "response.reasoning_summary_part" if shown.as_summary else "response.content_part"
        self._at["summary_index" if shown.as_summary else "content_index"] = 0
        self._begun = False

    def begin(self) -> Iterator[Event]:
        yield from super().begin()
        self._begun = True
        yield f"{self._part_name}.added", {**self._at, "part": self._part()}

    def more(self, piece: Reasoning) -> Iterator[Event]:
        self._text += piece.text
        yield f"{self._name}.delta", {**self._at, "delta": piece.text}

    def end(self, status: str) -> Iterator[Event]:
        yield f"{self._name}.done", {**self._at, "text": self._text}
        yield f"{self._part_name}.done", {**self._at, "part": self._part()}
        yield from super().end(status)

    def _part(self) -> dict[str, Any]:
        return {"type": self._kind, "text": self._text}

    def as_it_is(self) -> dict[str, Any]:
        parts = [self._part()] if self._begun else []
        return {
            "id": self.id,
            "type": "reasoning",
            "status": self.status,
            "summary": parts if self._shown.as_summary else [],
            "content": [] if self._shown.as_summary else parts,
            "encrypted_content": seal(self._text) if self._shown.sealed and self._text else None,
        }


class FunctionCall(Growing):
    def __init__(self, item_id: str, output_index: int, call_id: str, offered: Offered) -> None:
        super().__init__(item_id, output_index)
        self._call = {"call_id": call_id, "name": offered.name}
        if offered.namespace:
            self._call["namespace"] = offered.namespace

    def more(self, piece: CallArguments) -> Iterator[Event]:
        self._text += piece.text
        yield "response.function_call_arguments.delta", {**self._at, "delta": piece.text}

    def end(self, status: str) -> Iterator[Event]:
        yield (
            "response.function_call_arguments.done",
            {**self._at, "name": self._call["name"], "arguments": self._text},
        )
        yield from super().end(status)

    def as_it_is(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "function_call",
            "status": self.status,
            **self._call,
            "arguments": self._text,
        }


class CustomCall(FunctionCall):
    """Its input is one JSON string of its arguments, so it can be told only when they are whole."""

    def more(self, piece: CallArguments) -> Iterator[Event]:
        self._text += piece.text
        yield from ()

    def end(self, status: str) -> Iterator[Event]:
        text = input_of(self._text)
        yield "response.custom_tool_call_input.delta", {**self._at, "delta": text}
        yield "response.custom_tool_call_input.done", {**self._at, "input": text}
        yield from Growing.end(self, status)

    def as_it_is(self) -> dict[str, Any]:
        # what is known of it before its end is half a JSON string: no input of anybody's
        text = "" if self.status == "in_progress" else input_of(self._text)
        return {"id": self.id, "type": "custom_tool_call", "status": self.status, **self._call, "input": text}


class Output:
    """All items of a response. Its pieces are those of the one choice that a response has."""

    def __init__(self, digits: str, *, offered: Mapping[str, Offered], shown: Shown) -> None:
        self._digits = digits
        self._offered = offered
        self._shown = shown
        self._items: list[Growing] = []
        self._open: tuple[type[Piece], int] | None = None  # what the last item is made of, and the number of its call

    def items(self) -> list[dict[str, Any]]:
        """The items as they are now."""
        return [item.as_it_is() for item in self._items]

    def add(self, piece: Piece) -> Iterator[Event]:
        """The events of one more piece. Neighbours of one kind make one item."""
        match piece:
            case CallBegun():
                yield from self._begin((CallBegun, piece.call), self._call(piece.name))
                return
            case CallArguments():
                if piece.text:
                    yield from self._items[-1].more(piece)
                return
            case Reasoning() if not self._shown.reasoning:
                return
        kind = type(piece)
        if not piece.text and not (isinstance(piece, Text) and piece.logprobs and self._open == (kind, 0)):
            return  # tokens that no text came of are told where there is a text
        if self._open != (kind, 0):
            made = Message if isinstance(piece, Text) else self._thoughts
            prefix = "msg" if isinstance(piece, Text) else "rs"
            yield from self._begin((kind, 0), made(self._id(prefix), len(self._items)))
        yield from self._items[-1].more(piece)

    def end(self, ended: Ended) -> Iterator[Event]:
        """Close what is open. An answer that came to nothing is an empty message: readers look for one."""
        if not self._items and ended.reason != "length":
            yield from self._begin((Text, 0), Message(self._id("msg"), 0))
        yield from self._close("incomplete" if ended.reason == "length" else "completed")

    def abandon(self) -> None:
        """Nothing more will come: what is open stays as it is, incomplete."""
        if self._open is not None:
            self._items[-1].status = "incomplete"
            self._open = None

    def _begin(self, kind: tuple[type[Piece], int], item: Growing) -> Iterator[Event]:
        yield from self._close("completed")
        self._items.append(item)
        self._open = kind
        yield from item.begin()

    def _close(self, status: str) -> Iterator[Event]:
        if self._open is not None:
            self._open = None
            yield from self._items[-1].end(status)

    def _id(self, prefix: str) -> str:
        return item_id(prefix, self._digits, len(self._items))

    def _thoughts(self, id_: str, output_index: int) -> Thoughts:
        return Thoughts(id_, output_index, self._shown)

    def _call(self, name: str) -> FunctionCall:
        """A call of a tool that nobody offered is passed on under the name that the model gave it."""
        offered = self._offered.get(flat_name(None, name), Offered(name))
        made, prefix = (CustomCall, "ctc") if offered.custom else (FunctionCall, "fc")
        return made(self._id(prefix), len(self._items), self._id("call"), offered)


def item_id(prefix: str, digits: str, number: int) -> str:
    """The id of a response's item: whoever has it finds the response by its digits."""
    return f"{prefix}_{digits}{number:06x}"
