"""A conversation that is too long for its model, without its oldest messages: Responses' `truncation: "auto"`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inference.engine.prompts.rendering import Rendered
from inference.requests import Message

_SYSTEM = ("system", "developer")


def shortened(
    messages: Sequence[Message], render: Callable[[Sequence[Message]], Rendered], *, most_tokens: int
) -> Rendered:
    """The prompt of as much of a conversation's end as fits; the whole prompt where not even the least does.

    Instructions stay, wherever they stand. Found by halves, since each try is rendered and tokenized.
    """
    system = [message for message in messages if message["role"] in _SYSTEM]
    said = [message for message in messages if message["role"] not in _SYSTEM]
    whole = render(messages)
    cuts = _cuts(said)
    fits: Rendered | None = None
    low, high = 0, len(cuts)
    while low < high and len(whole.token_ids) > most_tokens:
        middle = (low + high) // 2
        tried = render([*system, *said[cuts[middle] :]])
        if len(tried.token_ids) <= most_tokens:
            fits, high = tried, middle
        else:
            low = middle + 1
    return fits or whole


def _cuts(said: Sequence[Message]) -> list[int]:
    """Where a conversation may begin: at a question, which strict templates want first, or within the last turn.

    There it is at an answer, so that no result of a call is without its call.
    """
    questions = [at for at, message in enumerate(said) if message["role"] == "user"]
    last = questions[-1] if questions else 0
    return [*questions, *(at for at in range(last + 1, len(said)) if said[at]["role"] == "assistant")]
