"""Draws follow the distribution, and depend on seed, choice and position and on nothing else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.engine.sampling import noise
from inference.engine.sampling.sampler import SamplerRow, sample
from inference.requests import Sampling
from tests.engine.sampling import sampler_reference as reference
from tests.engine.sampling.test_sampler import SETTINGS, random_logits, tokens_of

CPU = torch.device("cpu")
DRAWS = 6_000


def chi_square_limit(freedom: int) -> float:
    """What chance exceeds once in 30,000 times (Wilson and Hilferty)."""
    share = 2 / (9 * freedom)
    return freedom * (1 - share + 4 * math.sqrt(share)) ** 3


def assert_distributed(tokens: Sequence[int], expected: dict[int, float]) -> None:
    """Pearson's test, with tokens of fewer than ten expected draws counted as one."""
    counts, total = Counter(tokens), len(tokens)
    assert set(counts) <= set(expected)
    common = [token for token, share in expected.items() if share * total >= 10]
    cells = [(counts[token], expected[token] * total) for token in common]
    rest = total * (1 - sum(expected[token] for token in common))
    if rest >= 10:
        cells.append((total - sum(counts[token] for token in common), rest))
    assert sum((seen - due) ** 2 / due for seen, due in cells) < chi_square_limit(max(1, len(cells) - 1))


def drawn(logits: torch.Tensor, rows: list[SamplerRow]) -> list[int]:
    return tokens_of(sample(logits.expand(len(rows), -1), rows))


@pytest.mark.parametrize("name", ["plain", "cold", "hot", "top_p", "top_k", "min_p", "all cuts"])
def test_draws_of_many_seeds_follow_the_distribution(name: str) -> None:
    logits = random_logits(1, 60, spread=1.5)
    rows = [SamplerRow(Sampling(seed=seed, **SETTINGS[name]), [], vocabulary=60) for seed in range(DRAWS)]
    expected = reference.distribution(logits[0].tolist(), Sampling(**SETTINGS[name]))
    assert_distributed(drawn(logits, rows), expected)


def test_draws_of_many_positions_follow_it_too_and_are_independent_of_the_last() -> None:
    logits = random_logits(1, 12, spread=1.0)
    rows = [SamplerRow(Sampling(seed=5), [], vocabulary=12, index=0) for _ in range(DRAWS)]
    for position, row in enumerate(rows):
        row.position = position
    tokens = drawn(logits, rows)
    expected = reference.distribution(logits[0].tolist(), Sampling())
    assert_distributed(tokens, expected)
    pairs = {a * 12 + b: expected[a] * expected[b] for a in expected for b in expected}
    assert_distributed([a * 12 + b for a, b in pairwise(tokens)], pairs)


def test_draws_of_many_choices_follow_it_too() -> None:
    logits = random_logits(1, 60, spread=1.5)
    rows = [SamplerRow(Sampling(seed=5), [], vocabulary=60, index=index) for index in range(DRAWS)]
    assert_distributed(drawn(logits, rows), reference.distribution(logits[0].tolist(), Sampling()))


def test_a_large_flat_vocabulary_is_drawn_evenly() -> None:
    """Where the winner is one in 100,000, coarse random numbers would tie and the first would win."""
    vocabulary, buckets = 131_072, 8
    logits = torch.zeros(1, vocabulary)
    rows = [SamplerRow(Sampling(seed=seed), [], vocabulary=vocabulary) for seed in range(400)]
    tokens = [token for row in rows for token in drawn(logits, [row])]
    assert_distributed([token * buckets // vocabulary for token in tokens], dict.fromkeys(range(buckets), 1 / buckets))
    assert len(set(tokens)) > 395


def test_noise_is_finite_and_of_the_right_mean_and_variance() -> None:
    values = noise.gumbel([noise.key(noise.stream(seed, 0), 0) for seed in range(40)], 50_000, CPU)
    assert values.isfinite().all()
    assert float(values.mean()) == pytest.approx(0.5772, abs=0.005)
    assert float(values.double().var()) == pytest.approx(math.pi**2 / 6, abs=0.01)


def test_noise_is_the_published_hash() -> None:
    key = noise.key(noise.stream(11, 2), 7)
    expected = [reference.gumbel(key, token) for token in range(1000)]
    values = noise.gumbel([key], 1000, CPU)[0].tolist()
    assert values == pytest.approx(expected, abs=1e-3)
    # Only the lowest, which never win, are as coarse as that.
    assert [v for v in values if v > -1] == pytest.approx([e for e in expected if e > -1], abs=1e-5)


def test_splitmix_is_the_published_one() -> None:
    """The first outputs for the seed 1234567, as in Vigna's splitmix64.c."""
    assert [noise.key(1234567, position) for position in range(2)] == [6457827717110365317, 3203168211198807973]


@given(data=st.data())
@settings(max_examples=60)
def test_a_row_draws_the_same_in_any_batch_in_any_order(data: st.DataObject) -> None:
    """Alone, among others and in another place: the same tokens, over several positions."""
    names: list[str] = data.draw(st.lists(st.sampled_from(sorted(SETTINGS)), min_size=1, max_size=9))
    order: list[int] = data.draw(st.permutations(range(len(names))))
    seeds: list[int] = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=len(names), max_size=len(names)))
    vocabulary: int = data.draw(st.sampled_from([320, 333, 1024]))
    steps = [random_logits(len(names), vocabulary, seed=step) for step in range(4)]

    def rows() -> list[SamplerRow]:
        fields: list[dict[str, Any]] = [SETTINGS[name] for name in names]
        return [
            SamplerRow(Sampling(seed=seed, **own), [1, 2, 3], vocabulary=vocabulary, index=index)
            for index, (seed, own) in enumerate(zip(seeds, fields, strict=True))
        ]

    together, shuffled, alone = rows(), rows(), rows()
    for logits in steps:
        expected = tokens_of(sample(logits, together))
        reordered = tokens_of(sample(logits[order], [shuffled[place] for place in order]))
        assert [reordered[order.index(place)] for place in range(len(names))] == expected
        assert [tokens_of(sample(logits[[i]], [row]))[0] for i, row in enumerate(alone)] == expected
        for group in (together, shuffled, alone):
            for row, token in zip(group, expected, strict=True):
                row.accept(token)
