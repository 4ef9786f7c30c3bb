"""How long a context a model has here, derived from what was measured (MISSION N14)."""

from __future__ import annotations

from typing import Literal

import msgspec

from inference.policies import ContextPolicy

#: Longest prompt where no limit is derived.
UNDERIVED_PROMPT_TOKENS = 16384
#: Of the context, the most that is kept for the answer.
_MOST_OUTPUT_TOKENS = 8192
_MIB = 1024 * 1024
#: Contexts are whole multiples of this, those below four of it excepted.
_ROUND_TOKENS = 1024

#: The new sample's weight in the measured speed.
_ALPHA = 0.3
#: A sample covers so many tokens at least.
_SAMPLE_TOKENS = 512
#: The advertised limit follows a change of more than this, and not oftener than once in so many seconds.
_WORTHWHILE_CHANGE = 0.2
_STEADY_S = 60.0

#: What the context was cut by: the model's positions, the pool, the speed of reading, the operator.
Ceiling = Literal["model", "memory", "throughput", "operator"]


class Limit(msgspec.Struct, frozen=True):
    """Tokens: `context` of prompt and answer together, of which a prompt may take `input` and `output` is kept free.

    `bound_by` is the ceiling that was lowest.
    """

    context: int
    input: int
    output: int
    bound_by: Ceiling


def derive(policy: ContextPolicy, *, maximum: int, pool_tokens: int, prefill_rate: float | None) -> Limit:
    """The limit of a model made for `maximum` positions, whose pool holds `pool_tokens`.

    `prefill_rate` is in tokens per second, None where it was never measured.
    """
    rate = prefill_rate if prefill_rate is not None else policy.assumed_prefill_rate
    ceilings: dict[Ceiling, int] = {
        "model": maximum,
        "memory": pool_tokens,
        "throughput": int(policy.target_prefill_s * rate),
    }
    if policy.max_tokens is not None:
        ceilings["operator"] = policy.max_tokens
    bound_by = min(ceilings, key=lambda name: ceilings[name])
    context = max(2, ceilings[bound_by])
    if context >= 4 * _ROUND_TOKENS:
        context -= context % _ROUND_TOKENS
    output = min(_MOST_OUTPUT_TOKENS, context // 4)
    return Limit(context, context - output, output, bound_by)


def pool_bytes(policy: ContextPolicy, *, free_bytes: int, peak_bytes: int = 0) -> int:
    """What of a GPU's free memory, measured beside the weights, keys and values may take.

    Activations get the headroom, or what the largest step was seen to take where that is more.
    """
    return max(0, free_bytes - max(policy.headroom_mb * _MIB, peak_bytes) - policy.floor_mb * _MIB)


class PrefillRate:
    """Tokens of prompts per second, as an average that forgets: over tokens that were computed, not found in a cache.

    A step that also decodes counts with all its time: that is how fast a prompt is read here.
    """

    def __init__(self, first: float | None = None) -> None:
        self.tokens_per_s = first
        self._tokens = 0
        self._seconds = 0.0

    def observe(self, tokens: int, seconds: float) -> None:
        """A step took so many `seconds` and read so many `tokens` of prompts."""
        self._tokens += tokens
        self._seconds += seconds
        if self._tokens < _SAMPLE_TOKENS:
            return
        sample = self._tokens / max(self._seconds, 1e-9)
        known = self.tokens_per_s
        self.tokens_per_s = sample if known is None else known + _ALPHA * (sample - known)
        self._tokens, self._seconds = 0, 0.0


class ModelLimits:
    """What a loaded model takes, live: the owner thread measures, any thread reads.

    The advertised limit is steady, so that clients that read it once are not wrong a second later.
    """

    def __init__(
        self, policy: ContextPolicy, *, maximum: int, pool_tokens: int, prefill_rate: float | None, now: float
    ) -> None:
        self._policy = policy
        self._maximum = maximum
        self._pool_tokens = pool_tokens
        self._rate = PrefillRate(prefill_rate)
        self._moved_at = now
        self._limit = self._derived()

    @property
    def advertised(self) -> Limit | None:
        return self._limit if self._policy.derive else None

    @property
    def context_tokens(self) -> int:
        """The most tokens of prompt and answer together."""
        if self._policy.derive:
            return self._limit.context
        return min(self._maximum, self._pool_tokens, self._policy.max_tokens or self._maximum)

    @property
    def prompt_tokens(self) -> int:
        """The most tokens of a prompt. One more has always room to be answered."""
        return self._limit.input if self._policy.derive else min(UNDERIVED_PROMPT_TOKENS, self.context_tokens - 1)

    def observe(self, tokens: int, seconds: float, *, now: float) -> None:
        """A step took so many `seconds` and computed so many `tokens` of this model's prompts."""
        self._rate.observe(tokens, seconds)
        limit = self._derived()
        change = abs(limit.context - self._limit.context) / self._limit.context
        if change > _WORTHWHILE_CHANGE and now - self._moved_at >= _STEADY_S:
            self._limit, self._moved_at = limit, now

    def _derived(self) -> Limit:
        return derive(
            self._policy,
            maximum=self._maximum,
            pool_tokens=self._pool_tokens,
            prefill_rate=self._rate.tokens_per_s,
        )
