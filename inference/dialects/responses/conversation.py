"""Items of a Responses conversation as the messages that chat templates take."""

from __future__ import annotations

from collections.abc import Iterable

from inference.dialects.responses.items import Call, Item, Result, Said, Thought
from inference.refusals import invalid
from inference.requests import Message


def messages_of(items: Iterable[Item]) -> list[Message]:
    """One assistant message for each run of what a model made, the results of its calls right behind it.

    Clients split such runs: a message, or another call, may stand between a call and its result. Raises Refusal (400)
    naming a result without a call, and a call id that comes twice.
    """
    items = list(items)
    results = _results(items)
    messages: list[Message] = []
    turn = _Turn()
    for item in items:
        if not turn.takes(item):
            messages += turn.messages(results)
            turn = _Turn()
        if isinstance(item, Said) and item.role != "assistant":
            messages.append({"role": item.role, "content": item.text})
        else:
            turn.add(item)
    return messages + turn.messages(results)


def _results(items: list[Item]) -> dict[str, str]:
    """The text of every result by its call's id."""
    calls: set[str] = set()
    for item in items:
        if isinstance(item, Call):
            if item.call_id in calls:
                raise invalid(f"The item `{item.at}` repeats the call id `{item.call_id}`.", f"{item.at}.call_id")
            calls.add(item.call_id)
    results: dict[str, str] = {}
    for item in items:
        if isinstance(item, Result):
            if item.call_id not in calls:
                raise invalid(
                    f"The item `{item.at}` is the output of a call `{item.call_id}` that is not in the conversation.",
                    f"{item.at}.call_id",
                )
            if item.call_id in results:
                raise invalid(
                    f"The item `{item.at}` is a second output of the call `{item.call_id}`.", f"{item.at}.call_id"
                )
            results[item.call_id] = item.text
    return results


class _Turn:
    """What a model made without anybody speaking in between: thoughts, then texts and calls."""

    def __init__(self) -> None:
        self._thoughts: list[str] = []
        self._texts: list[str] = []
        self._calls: list[Call] = []

    def takes(self, item: Item) -> bool:
        if isinstance(item, Thought):  # thinking again begins anew
            return not self._texts and not self._calls
        return isinstance(item, Call) or (isinstance(item, Said) and item.role == "assistant")

    def add(self, item: Item) -> None:
        if isinstance(item, Thought):
            self._thoughts.append(item.text)
        elif isinstance(item, Said):
            self._texts.append(item.text)
        elif isinstance(item, Call):
            self._calls.append(item)

    def messages(self, results: dict[str, str]) -> list[Message]:
        if not (self._thoughts or self._texts or self._calls):
            return []
        message: Message = {"role": "assistant", "content": "\n".join(filter(None, self._texts))}
        if self._thoughts:
            message["reasoning_content"] = "\n".join(self._thoughts)
        if self._calls:
            message["tool_calls"] = [
                {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self._calls
            ]
        answers: list[Message] = [
            {"role": "tool", "tool_call_id": call.call_id, "name": call.name, "content": results[call.call_id]}
            for call in self._calls
            if call.call_id in results
        ]
        return [message, *answers]
