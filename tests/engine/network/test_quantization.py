"""A vocabulary in int8: close to what it is made of, each row for itself, only where it is asked for or large."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from inference.engine.loading.weights import read_network
from inference.engine.network.linear import Packed
from inference.engine.network.quantization import INT8, NONE, Int8, vocabulary_head
from inference.engine.progress import LoadError

CPU = torch.device("cpu")
needs_vnni = pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="needs a CPU with VNNI")


def head(outputs: int = 300, inputs: int = 64) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias=False, dtype=torch.bfloat16)


@needs_vnni
@pytest.mark.parametrize("outputs", [300, 40_000], ids=["one part", "three parts"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
@torch.inference_mode()
def test_only_the_weights_are_rounded_noticeably(count: int, outputs: int) -> None:
    layer = head(outputs)
    rows = torch.randn(1, count, 64, dtype=torch.bfloat16)
    exact = nn.functional.linear(rows.float(), layer.weight.float())
    rounded = Int8(layer)(rows)
    assert rounded.shape == exact.shape
    assert count == 0 or float((rounded - exact).std() / exact.std()) < 0.006


@needs_vnni
@torch.inference_mode()
def test_a_row_says_the_same_beside_others() -> None:
    rounded, rows = Int8(head()), torch.randn(5, 64, dtype=torch.bfloat16)
    rows[1] *= 1000
    together = rounded(rows)
    for row, beside in zip(rows, together, strict=True):
        torch.testing.assert_close(rounded(row[None])[0], beside, atol=0, rtol=1e-5)


@needs_vnni
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
@torch.inference_mode()
def test_what_is_no_number_stays_none_and_its_neighbour_one(wrong: float) -> None:
    rows = torch.ones(2, 64, dtype=torch.bfloat16)
    rows[0, 3] = wrong
    broken, sound = Int8(head())(rows)
    assert not broken.isfinite().any()
    assert sound.isfinite().all()


@needs_vnni
def test_a_row_of_zeros_has_logits_of_zero() -> None:
    assert Int8(head())(torch.zeros(1, 64)).count_nonzero() == 0


@needs_vnni
def test_large_vocabularies_are_rounded_unless_asked_not_to_be() -> None:
    large = head(outputs=1 << 20)
    assert isinstance(vocabulary_head(large, None), Int8)
    assert isinstance(vocabulary_head(large, NONE), Packed)
    assert isinstance(vocabulary_head(head(), None), Packed)
    assert isinstance(vocabulary_head(head(), INT8), Int8)


def test_an_unknown_quantization_is_refused_by_name() -> None:
    with pytest.raises(LoadError, match="'int3' is not known"):
        vocabulary_head(head(), "int3")


@needs_vnni
def test_a_model_says_what_it_was_asked_for(endless: Path) -> None:
    assert read_network(endless, CPU, quant=INT8).quant == INT8
    assert read_network(endless, CPU).quant == NONE
