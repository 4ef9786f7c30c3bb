"""How long a context is advertised, from what the model, the memory, the speed and the operator allow."""

from __future__ import annotations

import pytest
from transformers import LlamaConfig

from inference.engine.key_values import bytes_per_token
from inference.engine.limits import Ceiling, Limit, LiveLimit, PrefillRate, derive, pool_bytes
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


def test_the_advertised_limit_moves_only_for_a_fifth_and_once_a_minute() -> None:
    live = LiveLimit(limit_of(maximum=10240), now=0.0)
    live.follow(limit_of(maximum=20480), now=59.0)
    assert live.current.context == 10240
    live.follow(limit_of(maximum=12288), now=61.0)
    assert live.current.context == 10240  # exactly a fifth
    live.follow(limit_of(maximum=20480), now=61.0)
    assert live.current.context == 20480
    live.follow(limit_of(maximum=5120), now=100.0)
    assert live.current.context == 20480
    live.follow(limit_of(maximum=5120), now=121.0)
    assert live.current.context == 5120
