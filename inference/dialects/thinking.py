"""Whether a model thinks before it answers: one rule for every dialect (MISSION N9).

Whoever will not see what was thought has nothing of it, and it would eat the answer's bound: then thinking is off,
unless the client says otherwise to the template itself.
"""

from __future__ import annotations

from typing import Any, Literal

from inference.dialects.json_body import is_deeper
from inference.refusals import invalid

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

#: Objects in objects of what a client gives its template. Everybody on the way reads them by recursion.
_DEEPEST = 32


def is_asked_for(effort: Effort | None, explicit: dict[str, Any] | None) -> bool:
    """Whether a request says by these that it wants reasoning; dialects have further ways of their own."""
    return effort not in (None, "none") or (explicit or {}).get("enable_thinking") is True


def template_kwargs(*, seen: bool, effort: str | None, explicit: dict[str, Any] | None) -> dict[str, Any]:
    """The fields that reach a chat template. What the client gives it, `explicit`, wins.

    `seen` is whether the caller will see reasoning. Raises Refusal (400) for what no template could be given.
    """
    if explicit and is_deeper(explicit, _DEEPEST):
        message = f"The field `chat_template_kwargs` is nested more than {_DEEPEST} deep."
        raise invalid(message, "chat_template_kwargs")
    stated = {"reasoning_effort": effort} if effort not in (None, "none") else {}
    return {"enable_thinking": seen, **stated, **(explicit or {})}
