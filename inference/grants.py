"""What a grant allows: the rules by which no cap is ever overshot (DESIGN 4), for whatever runs a model.

A request carries the size of its reservation. It is refused here when the exact count shows that it may need more, and
apart from that no sequence ever samples more than its share.
"""

from __future__ import annotations

from inference.events import Failed
from inference.requests import GenerationRequest


def refusal(request: GenerationRequest, *, prompt_tokens: int, bound: int) -> Failed | None:
    """What the gateway is told of a request that may need more than it was granted; None for one that may run.

    `prompt_tokens` are those of all its prompts, and `bound` is the most tokens of one sequence, cut to what the
    context leaves. With these two numbers the gateway extends the reservation to exactly what is needed, or refuses the
    client itself: no client sees this code.
    """
    needed = prompt_tokens + bound * request.sequences
    if request.granted is None or needed <= request.granted:
        return None
    return Failed(
        "grant_exceeded",
        f"The request may need {needed} tokens and was granted {request.granted}.",
        {"prompt_tokens": prompt_tokens, "bound": bound},
    )


def most_tokens(request: GenerationRequest, *, prompt_tokens: int, bound: int) -> int:
    """The most tokens that one sequence may sample: its bound, and never more than its share of the grant."""
    if request.granted is None:
        return bound
    return max(0, min(bound, (request.granted - prompt_tokens) // request.sequences))
