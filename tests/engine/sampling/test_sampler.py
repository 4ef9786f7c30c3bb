"""How the next token is chosen: each setting against its definition, and rows that do not hear of one another."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from inference.engine.sampling.adjustments import Adjustments
from inference.engine.sampling.cuts import floors_by_selection, floors_by_sorting
from inference.engine.sampling.logprobs import Logprob, logprobs
from inference.engine.sampling.sampler import Chosen, Fault, SamplerRow, sample
from inference.requests import GenerationRequest, Sampling
from inference.wire import Order, decode_orders, encode_order, together
from tests.engine.sampling import sampler_reference as reference

LOGITS = torch.tensor([0.5, 3.0, 2.9, -1.0, float("-inf")])
VOCABULARY = 320
PROMPT = [3, 5, 5, 8, 13, 21]

SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "plain": {},
    "cold": {"temperature": 0.3},
    "hot": {"temperature": 1.7},
    "top_p": {"top_p": 0.8},
    "top_k": {"top_k": 7},
    "top_k beyond the vocabulary": {"top_k": 10_000},
    "top_k off": {"top_k": -1},
    "min_p": {"min_p": 0.1},
    "all cuts": {"temperature": 1.3, "top_k": 40, "top_p": 0.9, "min_p": 0.02},
    "presence": {"presence_penalty": 1.5},
    "frequency": {"frequency_penalty": 0.7},
    "repetition": {"repetition_penalty": 1.4},
    "all penalties": {"presence_penalty": -0.5, "frequency_penalty": 0.4, "repetition_penalty": 1.2},
    "greedy with penalties": {"temperature": 0, "frequency_penalty": 1.1, "repetition_penalty": 1.3},
    "bias": {"logit_bias": {7: 5.0, 9: -100.0, 300: 4.0}},
    "everything": {"temperature": 0.9, "top_p": 0.95, "top_k": 50, "min_p": 0.01, "presence_penalty": 0.3}
    | {"frequency_penalty": 0.2, "repetition_penalty": 1.1, "logit_bias": {4: 3.0}},
}


def random_logits(rows: int, vocabulary: int = VOCABULARY, *, seed: int = 0, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * spread


def row_for(sampling: Sampling, *, vocabulary: int = VOCABULARY, index: int = 0) -> SamplerRow:
    return SamplerRow(sampling, PROMPT, vocabulary=vocabulary, index=index)


def tokens_of(chosen: list[Chosen | Fault]) -> list[int]:
    assert all(isinstance(one, Chosen) for one in chosen), chosen
    return [one.token for one in chosen if isinstance(one, Chosen)]


def draws(sampling: Sampling, count: int = 200) -> list[int]:
    """What one sequence draws at positions of the same logits."""
    row, tokens = SamplerRow(sampling, [], vocabulary=len(LOGITS)), []
    for _ in range(count):
        [token] = tokens_of(sample(LOGITS[None], [row]))
        row.accept(token)
        tokens.append(token)
    return tokens


def test_every_setting_chooses_what_its_definition_says_in_one_batch() -> None:
    """All of them side by side, at 40 positions; only draws closer than rounding may differ."""
    samplings = [Sampling(seed=seed, **fields) for seed, fields in enumerate(SETTINGS.values())]
    rows = [row_for(sampling, index=seed % 3) for seed, sampling in enumerate(samplings)]
    outputs: list[list[int]] = [[] for _ in rows]
    close = 0
    for position in range(40):
        logits = random_logits(len(rows), seed=position)
        for place, token in enumerate(tokens_of(sample(logits, rows))):
            sampling, output = samplings[place], outputs[place]
            values = reference.adjusted(logits[place].tolist(), sampling, PROMPT, output)
            probabilities = reference.distribution(values, sampling)
            scores = reference.perturbed(probabilities, sampling.seed or 0, place % 3, position)
            if len(scores) > 1 and scores[0][0] - scores[1][0] < 1e-4:
                close += 1
            elif token != scores[0][1]:
                pytest.fail(f"{list(SETTINGS)[place]} at {position}: {token}, but its definition says {scores[0][1]}")
            output.append(token)
            rows[place].accept(token)
    assert close <= 3


@pytest.mark.parametrize("name", [name for name in SETTINGS if "penalt" in name or name in {"bias", "everything"}])
def test_penalties_and_bias_change_every_logit_by_their_definition(name: str) -> None:
    """Tokens of the prompt alone, of the output alone, of both, once and often; more than there was room for."""
    output = [5, 40, 40, 40, 5, *range(60, 120), 61, 61]
    [logits] = random_logits(1)
    adjustments = Adjustments(Sampling(**SETTINGS[name]), PROMPT, vocabulary=VOCABULARY)
    for token in output:
        adjustments.add(token)
    changed = logits.clone()
    adjustments.apply(changed)
    expected = reference.adjusted(logits.tolist(), Sampling(**SETTINGS[name]), PROMPT, output)
    assert changed.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_logits_stay_as_they_are() -> None:
    logits = random_logits(len(SETTINGS))
    before = logits.clone()
    sample(logits, [row_for(Sampling(**fields)) for fields in SETTINGS.values()])
    assert torch.equal(logits, before)


def test_sampling_again_before_a_token_is_accepted_gives_the_same() -> None:
    logits = random_logits(1)
    row = row_for(Sampling())
    assert sample(logits, [row]) == sample(logits, [row])


def test_temperature_zero_takes_the_likeliest() -> None:
    assert set(draws(Sampling(temperature=0))) == {1}


@pytest.mark.parametrize(
    "fields", [{"temperature": 1e-45}, {"top_k": 1}, {"top_p": 0.0}, {"top_p": 1e-9}, {"min_p": 1.0}]
)
def test_settings_that_leave_one_token_take_it(fields: dict[str, Any]) -> None:
    assert set(draws(Sampling(**fields))) == {1}


def test_the_first_of_equal_tokens_is_the_likeliest() -> None:
    logits = torch.zeros(2, 512)
    logits[:, [100, 99, 400]] = 2.0
    greedy = [Sampling(temperature=0), Sampling(top_k=1)]
    assert tokens_of(sample(logits, [row_for(sampling, vocabulary=512) for sampling in greedy])) == [99, 99]


@pytest.mark.parametrize("vocabulary", [1, 2, 333, 512, 1000, 32_000])
def test_greedy_is_argmax_whatever_the_size_of_the_vocabulary(vocabulary: int) -> None:
    logits = random_logits(4, vocabulary)
    rows = [row_for(Sampling(temperature=0), vocabulary=vocabulary) for _ in range(4)]
    assert tokens_of(sample(logits, rows)) == logits.argmax(dim=-1).tolist()


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    assert draws(Sampling(seed=7)) == draws(Sampling(seed=7))
    assert draws(Sampling(seed=7)) != draws(Sampling(seed=8))


@pytest.mark.parametrize("seed", [-(2**63), -1, 0, 2**63, 2**70])
def test_any_integer_is_a_seed(seed: int) -> None:
    assert draws(Sampling(seed=seed), 5) == draws(Sampling(seed=seed), 5)


def test_without_a_seed_two_requests_differ() -> None:
    assert draws(Sampling()) != draws(Sampling())


def test_tokens_that_tie_with_the_last_one_kept_are_kept() -> None:
    logits = torch.tensor([[2.0, 1.0, 1.0, 1.0, -1.0]])
    for fields in ({"top_k": 2}, {"top_p": 0.6}):
        rows = [SamplerRow(Sampling(seed=seed, **fields), [], vocabulary=5) for seed in range(100)]
        assert set(tokens_of(sample(logits.expand(100, 5), rows))) == {0, 1, 2, 3}


@pytest.mark.parametrize("spread", [0.0, 0.01, 3.0, 40.0])
def test_both_ways_to_cut_leave_the_same(spread: float) -> None:
    """The one for a CPU and the one for devices that sort fast."""
    logits = random_logits(32, 4000, spread=spread)
    logits[:, ::7] = float("-inf")
    logits[:, 1::3] = logits[:, :1]  # ties
    scores = logits - logits.amax(dim=-1, keepdim=True)
    shares = [0.01, 0.3, 0.9, 0.999, 1.0]
    samplings = [
        Sampling(top_p=shares[i % 5], top_k=[0, 5, 900, 4001][i % 4], min_p=[0, 0.02][i % 2]) for i in range(32)
    ]
    assert torch.equal(floors_by_selection(scores, samplings), floors_by_sorting(scores, samplings))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("fields", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_row_that_is_no_numbers_fails_alone(bad: float, fields: dict[str, Any]) -> None:
    logits = random_logits(3)
    logits[1, 200] = bad
    seeded = [Sampling(seed=1, logprobs=2, **fields)] * 3
    first, middle, last = sample(logits, [row_for(sampling) for sampling in seeded])
    assert isinstance(middle, Fault)
    assert [first, last] == sample(logits[[0, 2]], [row_for(sampling) for sampling in seeded[:2]])


def test_a_row_with_nothing_to_choose_from_fails_alone() -> None:
    logits = random_logits(2)
    logits[0] = float("-inf")
    first, second = sample(logits, [row_for(Sampling()), row_for(Sampling(top_p=0.5))])
    assert isinstance(first, Fault)
    assert isinstance(second, Chosen)


def test_settings_that_make_numbers_impossible_fail_their_row_alone() -> None:
    logits = random_logits(2)
    logits[0, PROMPT[0]] = 0.0
    first, second = sample(logits, [row_for(Sampling(repetition_penalty=0.0)), row_for(Sampling())])
    assert isinstance(first, Fault)
    assert isinstance(second, Chosen)


def test_settings_travel_to_a_neuron() -> None:
    sampling = Sampling(seed=1, logprobs=2, **SETTINGS["everything"])
    order = Order("gateway", "boot", GenerationRequest(id="1", model="tiny", messages=[], sampling=sampling))
    assert decode_orders(together([encode_order(order)])) == [order]
    assert b"logit_bias" not in encode_order(Order("g", "b", GenerationRequest(id="1", model="m", messages=[])))


@pytest.mark.parametrize("token", [-1, VOCABULARY])
def test_a_bias_on_a_token_that_does_not_exist_is_refused(token: int) -> None:
    with pytest.raises(ValueError, match=f"token {token}"):
        row_for(Sampling(logit_bias={token: 1.0}))


def test_bias_can_ban_and_can_force() -> None:
    assert set(draws(Sampling(logit_bias={1: -100, 2: -100}))) <= {0, 3}
    assert set(draws(Sampling(logit_bias={3: 100}))) == {3}


def test_log_probabilities_are_the_models_own() -> None:
    """Neither temperature nor penalties nor bias change what the model said."""
    logits = random_logits(3)
    samplings = [Sampling(temperature=0, logprobs=3, logit_bias={17: 50.0}), Sampling(), Sampling(seed=1, logprobs=0)]
    biased, plain, seeded = sample(logits, [row_for(sampling) for sampling in samplings])
    assert isinstance(biased, Chosen)
    assert isinstance(plain, Chosen)
    assert isinstance(seeded, Chosen)
    expected = logits.double().log_softmax(dim=-1)
    assert biased.logprob is not None
    assert biased.token == biased.logprob.token == 17
    assert biased.logprob.logprob == pytest.approx(float(expected[0, 17]), abs=1e-5)
    values, tokens = expected[0].topk(3)
    assert [token for token, _ in biased.logprob.top] == tokens.tolist()
    assert [value for _, value in biased.logprob.top] == pytest.approx(values.tolist(), abs=1e-5)
    assert plain.logprob is None
    assert seeded.logprob == Logprob(seeded.token, pytest.approx(float(expected[2, seeded.token]), abs=1e-5), [])


def test_log_probabilities_of_a_long_prompt() -> None:
    logits, tokens = random_logits(150), list(range(150))
    found = logprobs(logits, tokens, top=[index % 3 for index in range(150)])
    expected = logits.double().log_softmax(dim=-1)[range(150), tokens]
    assert [one.logprob for one in found] == pytest.approx(expected.tolist(), abs=1e-5)
    assert [len(one.top) for one in found] == [index % 3 for index in range(150)]


def test_an_impossible_token_is_minus_infinity() -> None:
    [found] = logprobs(LOGITS[None], [4], top=[5])
    assert found.logprob == -math.inf
    assert found.top[-1] == (4, -math.inf)
