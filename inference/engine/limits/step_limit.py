"""How many prompt tokens a step has memory for, learnt from steps that had too little."""

from __future__ import annotations

#: A step with no more prompt tokens than this is not made smaller: if it fails, somebody in it cannot be computed.
LEAST_TOKENS = 32
#: What a step that went well adds. From the least back to 512 in 120 steps: who took the memory may be gone by then.
_GROWTH_TOKENS = 4


class StepLimit:
    """Halves when memory runs out, and grows by little with every step, up to `most_tokens`."""

    def __init__(self, most_tokens: int) -> None:
        self._most_tokens = most_tokens
        self.tokens = most_tokens

    def grow(self) -> None:
        """A step begins."""
        self.tokens = min(self._most_tokens, self.tokens + _GROWTH_TOKENS)

    def shrink(self, tokens: int) -> int | None:
        """A step of so many prompt tokens ran out of memory. Returns how many to try, None where fewer do not help."""
        if tokens <= LEAST_TOKENS:
            return None
        self.tokens = max(LEAST_TOKENS, tokens // 2)
        return self.tokens
