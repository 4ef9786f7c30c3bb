"""What a seed drew it draws again, whoever is in the batch, however the prompt is read, and after giving way."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine import Engine
from inference.engine.limits import pace
from inference.engine.loading import weights
from inference.engine.sampling.sampler import Chosen, Fault, SamplerRow, sample
from inference.engine.scheduling import batch
from inference.events import Event, Finished, Text
from inference.policies import AdmissionPolicy
from inference.requests import Sampling
from tests.engine.conftest import Listener, request_for
from tests.engine.sampling import sampler_reference

#: Closer than this, rounding may decide: the same sums in another order.
MARGIN = 1e-3
SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.7, "top_p": 0.8},
    {"temperature": 1.3, "top_k": 20},
    {"min_p": 0.1, "presence_penalty": 1.0},
    {"top_p": 0.9, "top_k": 50, "frequency_penalty": 0.5},
    {"temperature": 0.0, "repetition_penalty": 1.3},
]


@pytest.fixture
def engine(endless: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Six places and memory for about three requests; in float32, where rounding is far below the margin."""
    monkeypatch.setattr(weights, "DTYPE", torch.float32)
    engine = Engine("cpu", publish=listener, admission=AdmissionPolicy(max_in_flight=6), kv_tokens=384)
    engine.load("tiny", str(endless))
    yield engine
    engine.close()


def tokens_of(events: list[Event]) -> list[int]:
    return [each.token for event in events if isinstance(event, Text) for each in event.logprobs]


def margin(logits: torch.Tensor, row: SamplerRow) -> float:
    """How far a draw is from going another way: between the two best perturbed scores, and around each cut."""
    adjusted = logits[None].clone()
    row.adjust(adjusted[0])
    ordered = adjusted[0].double().sort(descending=True).values
    settings = row.sampling
    if row.greedy:
        return float(ordered[0] - ordered[1])
    scores = (ordered - ordered[0]) / settings.temperature
    margins = [math.inf]
    kept = settings.top_k or len(scores)
    if settings.top_k:
        margins.append(float(scores[kept - 1] - scores[kept]))
    if settings.top_p < 1:
        masses = scores[:kept].exp()
        margins.append(float((masses.cumsum(0) / masses.sum() - settings.top_p).abs().min()))
    if settings.min_p:
        margins.append(float((scores - math.log(settings.min_p)).abs().min()))
    shares = sampler_reference.distribution(adjusted[0].tolist(), settings)
    best = sampler_reference.perturbed(shares, settings.seed or 0, 0, row.position)
    return min(*margins, best[0][0] - best[1][0] if len(best) > 1 else math.inf)


def alone(engine: Engine, monkeypatch: pytest.MonkeyPatch, name: str, **fields: Any) -> tuple[list[int], int]:
    """What a request draws alone, and how many of its tokens have a margin before the first that has none."""
    margins: list[float] = []

    def note(logits: torch.Tensor, rows: list[SamplerRow]) -> list[Chosen | Fault]:
        margins.extend(margin(one, row) for one, row in zip(logits, rows, strict=True))
        return sample(logits, rows)

    with monkeypatch.context() as patched:
        patched.setattr(batch, "sample", note)
        tokens = tokens_of(list(engine.stream(request_for(name, **fields))))
    sure = next((place for place, each in enumerate(margins) if each < MARGIN), len(tokens))
    return tokens, sure


@pytest.mark.parametrize("seed", range(3))
def test_a_seed_draws_the_same_in_any_company(
    engine: Engine, listener: Listener, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    dice = random.Random(seed)
    requests = {}
    for number, settings in enumerate(SETTINGS):
        requests[f"r{number}"] = {
            "content": "the river runs " * dice.randint(0, 12),
            "max_tokens": 60,
            "sampling": Sampling(seed=dice.randint(-(2**63), 2**63), logprobs=0, **settings),
        }
    expected = {name: alone(engine, monkeypatch, f"{name} alone", **fields) for name, fields in requests.items()}
    chunk = dice.choice([7, 33, 512])
    for bound in ("LEAST_TOKENS", "MOST_TOKENS", "UNMEASURED_TOKENS"):
        monkeypatch.setattr(pace, bound, chunk)
    for name, fields in requests.items():
        engine.submit(request_for(name, **fields))
        for number in range(dice.randint(0, 2)):
            others = Sampling(temperature=dice.choice([0.0, 1.0, 1.5]), top_p=dice.choice([0.5, 1.0]))
            prompt = "What is a token? " * dice.randint(0, 9)
            engine.submit(request_for(f"{name} {number}", prompt, sampling=others, max_tokens=dice.randint(1, 90)))
    compared = 0
    for name, (tokens, sure) in expected.items():
        assert isinstance(listener.final(name), Finished)
        assert tokens_of(listener.events[name])[:sure] == tokens[:sure]
        compared += sure
    assert compared > 100
