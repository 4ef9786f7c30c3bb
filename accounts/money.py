"""Money and tokens as integers: amounts are tokens or nano-USD, prices are nano-USD per 1,000,000 tokens.

Nothing here knows a database. A cost is rounded up once per request (DESIGN 4), so that no part of it is ever free.
"""

from __future__ import annotations

import msgspec

#: Tokens that a price is for.
PER_TOKENS = 10**6


class Counts(msgspec.Struct, frozen=True):
    """What the engine counted for a request. Cached and reasoning tokens are parts of prompt and completion."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Prices(msgspec.Struct, frozen=True):
    """Nano-USD per 1M tokens. Cached input costs `cached` where set, else `input`; reasoning likewise or `output`."""

    input: int
    output: int
    cached: int | None = None
    reasoning: int | None = None

    def cost(self, counts: Counts) -> int:
        """The nano-USD of a request, rounded up once."""
        cached = self.input if self.cached is None else self.cached
        reasoning = self.output if self.reasoning is None else self.reasoning
        total = (
            (counts.prompt_tokens - counts.cached_tokens) * self.input
            + counts.cached_tokens * cached
            + (counts.completion_tokens - counts.reasoning_tokens) * self.output
            + counts.reasoning_tokens * reasoning
        )
        return -(-total // PER_TOKENS)

    @property
    def dearest_input(self) -> int:
        return max(self.input, self.cached or 0)

    @property
    def dearest_output(self) -> int:
        return max(self.output, self.reasoning or 0)

    def most(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The nano-USD that so many tokens can cost at most."""
        return -(-(prompt_tokens * self.dearest_input + completion_tokens * self.dearest_output) // PER_TOKENS)
