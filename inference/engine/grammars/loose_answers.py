"""What an answer makes of schemas that are not strict: a grammar leaves out the keywords that it cannot enforce.

WIRE "Grammar and tools": the nearest superset is enforced, the answer validated afterwards, a mismatch logged. By then
the answer is with the client.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from inference.engine.grammars import tool_grammars
from inference.engine.grammars.validation import UndecidedError, unmet_keyword
from inference.events import CallArguments, CallBegun, Ended, Event, Text
from inference.grammars import JsonSchema
from inference.requests import GenerationRequest

logger = logging.getLogger(__name__)

#: Runs something later, on a thread that does not own the device.
Later = Callable[[Callable[[], None]], None]


class LooseAnswers:
    """The pieces of one request's answers that have such a schema, until each is whole and can be validated.

    Of a choice that is cut there is nothing to say. No log tells what was in an answer.
    """

    def __init__(self, request: GenerationRequest, later: Later) -> None:
        self._id, self._later = request.id, later
        self._answer = _loose_schema(request)
        self._arguments = _loose_parameters(request)
        self._parts: dict[tuple[int, int | None], tuple[str, list[str]]] = {}

    def add(self, event: Event) -> None:
        """Take the next event of the request."""
        match event:
            case Text() if self._answer is not None:
                self._parts.setdefault((event.index, None), (self._answer, []))[1].append(event.text)
            case CallBegun() if event.name in self._arguments:
                self._parts[event.index, event.call] = self._arguments[event.name], []
            case CallArguments() if (event.index, event.call) in self._parts:
                self._parts[event.index, event.call][1].append(event.text)
            case Ended():
                self._end(event)

    def _end(self, choice: Ended) -> None:
        whole = [key for key in self._parts if key[0] == choice.index]
        for schema, pieces in [self._parts.pop(key) for key in whole]:
            text = "".join(pieces)
            if choice.reason != "length" and choice.stop is None and text:
                self._later(partial(self._validate, choice.index, schema, text))

    def _validate(self, index: int, schema: str, text: str) -> None:
        try:
            unmet = unmet_keyword(schema, text)
        except UndecidedError as reason:
            logger.info("request %s: choice %d was not validated by its schema: %s", self._id, index, reason)
            return
        if unmet is not None:
            logger.warning("request %s: choice %d does not satisfy its schema's `%s`", self._id, index, unmet)


def _loose_schema(request: GenerationRequest) -> str | None:
    grammar = request.grammar
    return grammar.schema if isinstance(grammar, JsonSchema) and not grammar.strict else None


def _loose_parameters(request: GenerationRequest) -> dict[str, str]:
    """By the names of the tools; of those alone whose calls keep to a grammar."""
    use = request.tool_use
    if use is None or not tool_grammars.are_kept_to(request):
        return {}
    return {tool.name: tool.parameters for tool in tool_grammars.callable_tools(use) if not tool.strict}
