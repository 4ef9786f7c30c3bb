"""How long a context is advertised, from what the model, the memory, the speed and the operator allow."""

from __future__ import annotations

import pytest
from transformers import LlamaConfig

from inference.engine.limits.limits import Ceiling, Limit, ModelLimits, PrefillRate, derive, pool_bytes
from inference.engine.memory.key_values import bytes_per_token
from inference.policies import ContextPolicy

MIB = 1024 * 1024
POLICY = ContextPolicy()
#: 16 layers of 4 key heads of 256, 2 bytes each: the examples of MISSION N14.
CONFIG = LlamaConfig(num_hidden_layers=16, num_attention_heads=8, num_key_value_heads=4, head_dim=256)
PLENTY = 10_000_000


def limit_of(
    policy: ContextPolicy = POLICY, *, maximum: int = PLENTY, pool: int = PLENTY, rate: float | None = 1e6
) -> Limit:
    return derive(policy, maximum=maximum, pool_tokens=pool, prefill_rate=rate)


def test_a_token_takes_two_vectors_of_every_key_head_in_every_layer() -> None:
    assert bytes_per_token(CONFIG, 2) == 64 * 1024
    assert bytes_per_token(CONFIG, 2, cards=2) == 32 * 1024
    assert bytes_per_token(CONFIG, 2, cards=8) == 16 * 1024  # a head is never cut


def test_memory_beside_headroom_and_floor_holds_the_pool() -> None:
    assert pool_bytes(POLICY, free_bytes=9254 * MIB) == (9254 - 2048 - 1500) * MIB
    assert pool_bytes(POLICY, free_bytes=3000 * MIB) == 0
    tokens = pool_bytes(POLICY, free_bytes=9254 * MIB) // bytes_per_token(CONFIG, 2, cards=2)
    assert limit_of(pool=tokens, rate=850) == Limit(101376, 101376 - 8192, 8192, "throughput")


@pytest.mark.parametrize(
    ("fields", "bound_by"),
    [
        ({"maximum": 40960}, "model"),
        ({"pool": 40960}, "memory"),
        ({"rate": 40960 / 120}, "throughput"),
        ({"policy": ContextPolicy(max_tokens=40960)}, "operator"),
    ],
)
def test_the_lowest_ceiling_binds_and_is_named(fields: dict[str, object], bound_by: Ceiling) -> None:
    limit = limit_of(**fields)  # type: ignore[arg-type]
    assert limit == Limit(40960, 32768, 8192, bound_by)


def test_until_a_speed_is_measured_one_is_assumed() -> None:
    assert limit_of(rate=None).context == 96000 // 1024 * 1024
    assert (
        limit_of(ContextPolicy(target_prefill_s=60, assumed_prefill_rate=100), rate=None).context == 6000 // 1024 * 1024
    )


@pytest.mark.parametrize(("maximum", "context"), [(4095, 4095), (4096, 4096), (5119, 4096), (300, 300)])
def test_contexts_are_rounded_down_from_4096_up(maximum: int, context: int) -> None:
    limit = limit_of(maximum=maximum)
    assert (limit.context, limit.output) == (context, context // 4)
    assert limit.input + limit.output == limit.context


@pytest.mark.parametrize("maximum", [1, 2, 3, 5])
def test_a_prompt_of_one_token_always_fits(maximum: int) -> None:
    assert limit_of(maximum=maximum).input >= 1


def test_the_speed_is_that_of_512_tokens_at_least_and_the_first_one_counts_whole() -> None:
    rate = PrefillRate()
    rate.observe(300, 1.0)
    assert rate.tokens_per_s is None
    rate.observe(300, 2.0)
    assert rate.tokens_per_s == 200
    rate.observe(600, 1.0)
    assert rate.tokens_per_s == pytest.approx(200 + 0.3 * 400)


def limits_of(policy: ContextPolicy = POLICY, *, rate: float | None = 100.0, maximum: int = PLENTY) -> ModelLimits:
    return ModelLimits(policy, maximum=maximum, pool_tokens=PLENTY, prefill_rate=rate, now=0.0)


def test_the_advertised_limit_moves_only_for_a_fifth_and_once_a_minute() -> None:
    limits = limits_of()
    assert limits.context_tokens == 12000 // 1024 * 1024
    limits.observe(100_000, 100.0, now=59.0)  # 370 a second by now
    assert limits.context_tokens == 12000 // 1024 * 1024
    limits.observe(512, 512 / 370, now=61.0)
    assert limits.context_tokens == (120 * 370) // 1024 * 1024
    for second in (62.0, 120.0):
        limits.observe(512, 5.12, now=second)
    assert limits.context_tokens == (120 * 370) // 1024 * 1024
    limits.observe(512, 5.12, now=122.0)
    assert limits.context_tokens < 30_000


def test_a_change_of_a_few_percent_is_not_followed() -> None:
    limits = limits_of()
    limits.observe(512, 512 / 130, now=1000.0)
    assert limits.context_tokens == 12000 // 1024 * 1024


def test_without_derivation_nothing_is_advertised_and_prompts_of_16384_are_taken() -> None:
    limits = limits_of(ContextPolicy(derive=False))
    assert (limits.advertised, limits.prompt_tokens, limits.context_tokens) == (None, 16384, PLENTY)
    clamped = limits_of(ContextPolicy(derive=False, max_tokens=1000))
    assert (clamped.prompt_tokens, clamped.context_tokens) == (999, 1000)


def test_what_is_advertised_is_what_is_taken() -> None:
    limits = limits_of(maximum=8192, rate=None)
    assert limits.advertised == Limit(8192, 6144, 2048, "model")
    assert (limits.prompt_tokens, limits.context_tokens) == (6144, 8192)
