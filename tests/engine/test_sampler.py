"""How the next token is chosen."""

from __future__ import annotations

import pytest
import torch

from inference.engine.sampler import Sampler, nucleus
from inference.requests import Sampling

CPU = torch.device("cpu")
LOGITS = torch.tensor([0.5, 3.0, 2.9, -1.0, float("-inf")])


def draws(sampling: Sampling, count: int = 200) -> list[int]:
    sampler = Sampler(sampling, CPU)
    return [sampler.choose(LOGITS) for _ in range(count)]


def test_temperature_zero_takes_the_likeliest() -> None:
    assert set(draws(Sampling(temperature=0))) == {1}


def test_a_temperature_near_zero_does_too() -> None:
    assert set(draws(Sampling(temperature=1e-45))) == {1}


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    assert draws(Sampling(seed=7)) == draws(Sampling(seed=7))
    assert draws(Sampling(seed=7)) != draws(Sampling(seed=8))


@pytest.mark.parametrize("seed", [-1, 0, 2**63, 2**70])
def test_any_integer_is_a_seed(seed: int) -> None:
    assert draws(Sampling(seed=seed), 5) == draws(Sampling(seed=seed), 5)


def test_without_a_seed_two_requests_differ() -> None:
    assert draws(Sampling()) != draws(Sampling())


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    probabilities = torch.tensor([0.1, 0.5, 0.3, 0.1])
    assert nucleus(probabilities, 0.5).tolist() == pytest.approx([0, 0.5, 0, 0])
    assert nucleus(probabilities, 0.6).tolist() == pytest.approx([0, 0.5, 0.3, 0])
    assert nucleus(probabilities, 0.0).tolist() == pytest.approx([0, 0.5, 0, 0])


def test_nothing_outside_of_top_p_is_drawn() -> None:
    assert set(draws(Sampling(top_p=0.6, seed=1))) == {1, 2}


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(FloatingPointError):
        Sampler(Sampling(), CPU).choose(torch.tensor([0.0, float("nan")]))
