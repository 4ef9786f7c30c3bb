"""The events of an answer put together: what a dialect that answers whole writes down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from inference.events import (
    CallArguments,
    CallBegun,
    ChoiceReason,
    Ended,
    Piece,
    PromptLogprobs,
    Reasoning,
    Text,
    TokenLogprob,
)


@dataclass
class Passage:
    """Neighbouring pieces of one kind: what was thought, what was said, or one call, whose `text` is its arguments.

    `logprobs` are of the tokens of what was said, where they were asked for.
    """

    kind: Literal["reasoning", "text", "call"]
    text: str = ""
    name: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)


@dataclass
class Choice:
    """One choice, its passages in their order."""

    passages: list[Passage] = field(default_factory=list)
    reason: ChoiceReason = "stop"
    stop: str | None = None

    def text_of(self, kind: Literal["reasoning", "text"]) -> str:
        return "".join(passage.text for passage in self.passages if passage.kind == kind)

    @property
    def logprobs(self) -> list[TokenLogprob]:
        """Of the tokens of all that was said."""
        return [token for passage in self.passages for token in passage.logprobs]

    @property
    def calls(self) -> list[Passage]:
        return [passage for passage in self.passages if passage.kind == "call"]

    def add(self, piece: Piece) -> None:
        if isinstance(piece, CallBegun):
            self.passages.append(Passage("call", name=piece.name))
            return
        if isinstance(piece, CallArguments):
            self.passages[-1].text += piece.text
            return
        kind: Literal["reasoning", "text"] = "reasoning" if isinstance(piece, Reasoning) else "text"
        logprobs = piece.logprobs if isinstance(piece, Text) else []
        if piece.text or logprobs:
            if not self.passages or self.passages[-1].kind != kind:
                self.passages.append(Passage(kind))
            self.passages[-1].text += piece.text
            self.passages[-1].logprobs += logprobs


class Assembly:
    """All choices of a request, and the log-probabilities of each of its prompts where they were asked for."""

    def __init__(self, choices: int) -> None:
        self.choices: Sequence[Choice] = [Choice() for _ in range(choices)]
        self.prompts: dict[int, list[TokenLogprob]] = {}

    def add(self, event: Piece | PromptLogprobs | Ended) -> None:
        if isinstance(event, PromptLogprobs):
            self.prompts.setdefault(event.prompt, []).extend(event.tokens)
        elif isinstance(event, Ended):
            self.choices[event.index].reason, self.choices[event.index].stop = event.reason, event.stop
        else:
            self.choices[event.index].add(event)
