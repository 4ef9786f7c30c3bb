"""How many prompt tokens a step reads, so that those that decode wait little longer for their next token."""

from __future__ import annotations

#: What prompts may add to a step that others decode in, and how long a step of prompts alone may take: until it is
#: over nobody begins and nobody's cancel is seen.
BESIDE_DECODES_S = 0.1
ALONE_S = 0.4
LEAST_TOKENS, MOST_TOKENS = 64, 2048
#: Until something is measured.
UNMEASURED_TOKENS = 512
#: Weight of the newest sample.
_ALPHA = 0.3


class Pace:
    """Learns from each step how long prompts take, by what they add to steps of decodes alone."""

    def __init__(self) -> None:
        self._decode_s = 0.0
        self._seconds_per_token: float | None = None

    def tokens(self, *, beside_decodes: bool) -> int:
        """The most prompt tokens for the next step."""
        if self._seconds_per_token is None:
            return UNMEASURED_TOKENS
        target_s = BESIDE_DECODES_S if beside_decodes else ALONE_S
        return max(LEAST_TOKENS, min(MOST_TOKENS, int(target_s / max(self._seconds_per_token, 1e-9))))

    def measured(self, seconds: float, *, prompt_tokens: int, decodes: int) -> None:
        """A step took so long. One with few prompt tokens says more about steps than about tokens, and is ignored."""
        if prompt_tokens == 0:
            self._decode_s = _moved(self._decode_s or None, seconds)
        elif prompt_tokens >= LEAST_TOKENS:
            added = max(0.0, seconds - (self._decode_s if decodes else 0.0))
            self._seconds_per_token = _moved(self._seconds_per_token, added / prompt_tokens)


def _moved(average: float | None, sample: float) -> float:
    return sample if average is None else average + _ALPHA * (sample - average)
