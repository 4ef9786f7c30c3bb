"""Every attention over pages against the plain one, and the plain one against torch's own; the probe that chooses."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from inference.engine.attention import attention_probe
from inference.engine.attention.attention_probe import Shape, chosen, passing
from inference.engine.attention.paged_attention import DecodeAndChunk, GatheredAttention, PagedAttention, Reads
from inference.engine.attention.triton_attention import TritonAttention
from tests.engine.attention.pages import needs_triton


class Pages:
    """Random sequences on scattered pages, and rows that read them."""

    def __init__(self, dice: random.Random, *, heads: int, kv_heads: int, width: int, page: int, decode: bool) -> None:
        self.lengths = [dice.randint(1, 300) for _ in range(dice.randint(1, 3))]
        self.rows = [1 if decode else dice.randint(1, min(length, 60)) for length in self.lengths]
        used = [-(-length // page) for length in self.lengths]
        order = list(range(sum(used) + 2))
        dice.shuffle(order)
        self.tables = torch.zeros(len(used), max(used), dtype=torch.int32)
        for table, count in zip(self.tables, used, strict=True):
            table[:count] = torch.tensor([order.pop() for _ in range(count)])
        numbers = torch.Generator().manual_seed(dice.randrange(1000))
        self.query = torch.randn(sum(self.rows), heads, width, generator=numbers)
        self.keys, self.values = torch.randn(2, sum(used) + 2, page, kv_heads, width, generator=numbers)
        for free in order:  # what nobody owns may be anything
            self.keys[free], self.values[free] = float("nan"), float("nan")

    def attend(self, by: PagedAttention, *, window: int | None, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        starts = torch.tensor([0, *self.rows]).cumsum(0).int()
        reads = Reads(0, sum(self.rows), self.rows, self.lengths, starts, torch.tensor(self.lengths).int(), self.tables)
        query, keys, values = (tensor.to(dtype) for tensor in (self.query, self.keys, self.values))
        return by.attend(query, keys, values, reads, scaling=0.1, window=window).float()


@pytest.mark.parametrize("seed", range(4))
def test_the_reference_is_attention_of_each_sequence_by_itself(seed: int) -> None:
    dice = random.Random(seed)
    pages = Pages(dice, heads=4, kv_heads=2, width=32, page=16, decode=seed % 2 == 0)
    found = torch.split(pages.attend(GatheredAttention(), window=None), pages.rows)
    for query, length, table, output in zip(
        torch.split(pages.query, pages.rows), pages.lengths, pages.tables, found, strict=True
    ):
        keys, values = (pool[table.long()].flatten(0, 1)[:length] for pool in (pages.keys, pages.values))
        for row, rest in zip(range(len(query)), range(len(query) - 1, -1, -1), strict=True):
            seen = slice(0, length - rest)
            expected = scaled_dot_product_attention(
                query[row][:, None],
                keys[seen].transpose(0, 1),
                values[seen].transpose(0, 1),
                scale=0.1,
                enable_gqa=True,
            )
            assert torch.allclose(output[row], expected[:, 0], atol=1e-5)


@needs_triton
@pytest.mark.parametrize("width", [64, 96, 128, 256])
@pytest.mark.parametrize("group", [1, 2, 3, 7, 8])
def test_interpreted_kernels_compute_what_the_reference_does(width: int, group: int) -> None:
    dice = random.Random(width + group)
    for kind in ("decode", "chunk"):
        kv_heads = dice.choice([1, 2])
        page = dice.choice([16, 256])
        pages = Pages(dice, heads=group * kv_heads, kv_heads=kv_heads, width=width, page=page, decode=kind == "decode")
        for window, dtype, tolerance in (
            (None, torch.float32, 1e-5),
            (dice.choice([24, 100]), torch.float32, 1e-5),
            (dice.choice([None, 24]), torch.float16, 1e-2),  # numpy, which interprets, has no bfloat16
        ):
            expected = pages.attend(GatheredAttention(), window=window)
            attention = TritonAttention(programs=dice.choice([1, 64]), page_tokens=page)
            found = pages.attend(attention, window=window, dtype=dtype)
            assert float((found - expected).abs().max()) < tolerance


@needs_triton
def test_keys_split_over_programs_give_what_one_program_gives() -> None:
    pages = Pages(random.Random(5), heads=8, kv_heads=2, width=64, page=16, decode=True)
    outputs = [pages.attend(TritonAttention(programs=programs, page_tokens=16), window=None) for programs in (1, 1000)]
    assert not torch.equal(*outputs)  # other sums: they were split
    assert float((outputs[0] - outputs[1]).abs().max()) < 1e-5


# -- the probe -----------------------------------------------------------------------------------

SHAPE = Shape(heads=4, kv_heads=2, width=64, dtype=torch.float32, device=torch.device("cpu"))


class Wrong(GatheredAttention):
    name = "wrong"

    def attend(self, query: torch.Tensor, keys: Any, values: Any, reads: Any, **how: Any) -> torch.Tensor:
        output = super().attend(query, keys, values, reads, **how)
        output[reads.rows[0] :] = 0  # as split keys of FlashAttention 2 leave it
        return output


class Refusing(GatheredAttention):
    name = "refusing"

    def attend(self, *_args: Any, **_how: Any) -> torch.Tensor:
        raise RuntimeError("page size must be divisible by 256")


def test_a_probe_takes_what_is_right_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="inference.engine")
    assert passing(GatheredAttention, SHAPE) is not None
    assert passing(Wrong, SHAPE) is None
    assert "wrong is not used" in caplog.text
    assert passing(Refusing, SHAPE) is None
    assert "divisible by 256" in caplog.text


def test_a_device_that_breaks_in_the_probe_is_not_taken_for_a_refusal() -> None:
    class Breaking(GatheredAttention):
        def attend(self, *_args: Any, **_how: Any) -> torch.Tensor:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        passing(Breaking, SHAPE)


@pytest.mark.parametrize(
    ("varlen", "triton", "name", "page_tokens"),
    [
        (True, True, "triton decodes, varlen reads prompts", 256),
        (True, False, "varlen", 256),
        (False, True, "triton", 16),
        (False, False, "gathered", 16),
    ],
)
def test_the_best_that_works_is_chosen(
    monkeypatch: pytest.MonkeyPatch, varlen: bool, triton: bool, name: str, page_tokens: int
) -> None:
    class Varlen(GatheredAttention if varlen else Refusing):  # type: ignore[misc]
        name, page_tokens = "varlen", 256

    class Triton(GatheredAttention if triton else Refusing):  # type: ignore[misc]
        name = "triton"

        def __init__(self, *, programs: int, page_tokens: int) -> None:
            self.page_tokens = page_tokens

    monkeypatch.setattr(attention_probe, "VarlenAttention", Varlen)
    monkeypatch.setattr(attention_probe, "TritonAttention", Triton)
    best = chosen.__wrapped__(SHAPE)
    assert (best.name, best.page_tokens) == (name, page_tokens)


def test_decodes_and_chunks_go_to_their_own() -> None:
    both = DecodeAndChunk(Refusing(), GatheredAttention())
    Pages(random.Random(1), heads=4, kv_heads=2, width=32, page=16, decode=False).attend(both, window=None)
    with pytest.raises(RuntimeError, match="divisible"):
        Pages(random.Random(1), heads=4, kv_heads=2, width=32, page=16, decode=True).attend(both, window=None)
