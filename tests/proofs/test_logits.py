"""The proof that our logits are those of transformers, at a small size."""

from __future__ import annotations

import random

import pytest
import torch

from tests.engine.networks import CONFIGS
from tests.proofs.logits import Comparison, compare


@pytest.mark.parametrize("name", CONFIGS)
def test_one_round_holds(name: str) -> None:
    seen = Comparison()
    compare(name, dice=random.Random(f"7 {name}"), longest=120, into=seen)
    assert seen.positions > 0
    assert seen.holds, seen


def test_what_differs_is_seen() -> None:
    theirs = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 1.0005]])
    for ours, holds in ((theirs, False), (theirs[:1] + 5e-5, True), (theirs[:1] + 2e-4, False)):
        seen = Comparison()
        seen.add(ours, theirs[: len(ours)])
        assert seen.holds is holds
