"""The runner over pages gives the logits of transformers' own forward, recorded or not; all of it on a CPU.

The Triton kernels run in Triton's interpreter. What only a GPU can show is in `test_cuda.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from inference.engine.attention.paged_attention import GatheredAttention, PagedAttention
from inference.engine.attention.triton_attention import TritonAttention
from inference.engine.network.decode_graphs import DecodeGraphs, DecodeInputs, DecodeRow, Record
from inference.engine.network.paged_runner import PagedRunner
from tests.engine.attention.pages import Again, RecordableAttention, needs_triton
from tests.engine.network.test_runner import TOLERANCE, differences, reference, scatter, tokens
from tests.engine.networks import CONFIGS, WINDOW, Reading, network


def paged(
    name: str, attention: PagedAttention | None = None, *, record: Record | None = None, memory: int = 4096
) -> PagedRunner:
    return PagedRunner(network(name), memory, lanes=8, attention=attention or GatheredAttention(), record=record)


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_transformers(name: str) -> None:
    of_name = paged(name)
    scatter(of_name)
    sequences = [tokens(length) for length in [1, 2, 15, 16, 17, WINDOW, WINDOW + 1, 63, 90, 130]]
    readings = [Reading(of_name, ids) for ids in sequences]
    assert max(differences(readings, reference(name, sequences), chunk=50, dice=random.Random(1))) < TOLERANCE


@needs_triton
@pytest.mark.parametrize("name", ["qwen3", "gemma3", "phi3"])
@pytest.mark.parametrize(("programs", "page_tokens"), [(1, 16), (64, 256)])
def test_logits_by_interpreted_kernels_are_those_of_transformers(name: str, programs: int, page_tokens: int) -> None:
    of_name = paged(name, TritonAttention(programs=programs, page_tokens=page_tokens))
    sequences = [tokens(length) for length in [3, 17, 40, 70]]
    readings = [Reading(of_name, ids) for ids in sequences]
    assert max(differences(readings, reference(name, sequences), chunk=40, dice=random.Random(1))) < TOLERANCE


@pytest.mark.parametrize("attention", [GatheredAttention, RecordableAttention])
def test_forks_share_pages_and_do_not_write_into_each_other(attention: Callable[[], PagedAttention]) -> None:
    of_name = paged("gemma3", attention(), record=Again)
    first = Reading(of_name, tokens(37) + tokens(30, seed=1))
    of_name.run([first.part(37)])
    readings = [first, *(first.fork(tokens(30, seed=seed)) for seed in (2, 3))]
    assert of_name.pool.blocks - of_name.pool.free_blocks == 3
    expected = reference("gemma3", [reading.token_ids for reading in readings])
    assert max(differences(readings, expected, chunk=9, dice=random.Random(3))) < TOLERANCE


# -- recorded decodes ----------------------------------------------------------------------------


class Counted:
    """Records by computing again, and keeps what it recorded."""

    def __init__(self) -> None:
        self.recordings: list[Again] = []

    def __call__(self, compute: Callable[[], Any]) -> Any:
        self.recordings.append(Again(compute))
        return self.recordings[-1]


@pytest.mark.parametrize("name", CONFIGS)
def test_replayed_logits_are_those_of_transformers(name: str) -> None:
    record = Counted()
    of_name = paged(name, RecordableAttention(), record=record)
    sequences = [tokens(length, seed=2) for length in (5, 20, 33, 47, 60, 75)]
    readings = [Reading(of_name, ids) for ids in sequences]
    of_name.run([reading.part(reading.unread_tokens - 4) for reading in readings])
    expected = reference(name, sequences)
    for chosen in ([0, 1, 2, 3, 4], [5, 3, 1], [2], [0, 1, 2, 3, 4, 5]):  # padded to 8, 4, 1 and 8
        logits, _ = of_name.run([readings[index].part(1) for index in chosen])
        rows = torch.stack([expected[index][readings[index].read_tokens - 1] for index in chosen])
        assert logits.shape == rows.shape
        assert float((logits - rows).abs().max()) < TOLERANCE
    # Positions that depend on the sequence are not in a recording.
    assert [recording.replays for recording in record.recordings] == ([] if of_name.long_rope else [2, 1, 1])


def test_a_replay_gives_only_the_rows_that_are_wanted() -> None:
    of_name = paged("llama", RecordableAttention(), record=Again)
    readings = [Reading(of_name, tokens(length)) for length in (10, 20, 30)]
    of_name.run([reading.part(reading.unread_tokens - 1) for reading in readings])
    parts = [reading.part(1) for reading in readings]
    logits, _ = of_name.run([parts[0], parts[1]._replace(wanted=False), parts[2]])
    expected = reference("llama", [tokens(length) for length in (10, 30)])
    assert float((logits - torch.stack([each[-1] for each in expected])).abs().max()) < TOLERANCE


def test_rows_that_fill_up_a_batch_write_to_a_page_of_nobody() -> None:
    of_name = paged("llama", RecordableAttention(), record=Again, memory=64)  # all four blocks are in use
    readings = [Reading(of_name, tokens(length)) for length in (20, 6, 5)]
    of_name.run([reading.part(reading.unread_tokens - 1) for reading in readings])
    assert of_name.pool.free_blocks == 0
    before = of_name.key_values.keys.clone()
    of_name.run([reading.part(1) for reading in readings])
    changed = (of_name.key_values.keys != before).flatten(3).any(dim=3).any(dim=0).nonzero().tolist()
    own = [[reading.table.blocks[-1], (len(reading.token_ids) - 1) % 16] for reading in readings]
    assert sorted(changed) == sorted([*own, [of_name.pool.blocks, 0]])


def graphs_of(record: Record, *, most_rows: int = 8) -> DecodeGraphs[torch.Tensor]:
    return DecodeGraphs(
        lambda inputs: torch.cat([inputs.numbers, inputs.tables.T]),
        record,
        most_rows=most_rows,
        most_pages=3,
        spare=DecodeRow(0, 0, 160, [10]),
        device=torch.device("cpu"),
    )


class Copied:
    """A recording of one tensor."""

    def __init__(self, compute: Callable[[], torch.Tensor]) -> None:
        self._compute, self.result = compute, compute().clone()

    def replay(self) -> None:
        self.result.copy_(self._compute())


def test_a_recording_finds_the_steps_numbers_and_no_older_ones() -> None:
    graphs = graphs_of(Copied)
    full = graphs.run([DecodeRow(7, 40, 5, [1, 2, 3])] * 4)
    assert full is not None
    assert full.T.tolist() == [[7, 40, 5, 41, 1, 2, 3]] * 4
    padded = graphs.run([DecodeRow(8, 20, 9, [4, 5]), DecodeRow(9, 3, 16, [1]), DecodeRow(9, 3, 16, [1])])
    assert padded is full  # the same recording in the same memory
    rows = [row[: 4 + pages] for row, pages in zip(padded.T.tolist(), (2, 1, 1, 1), strict=True)]
    assert rows == [[8, 20, 9, 21, 4, 5], [9, 3, 16, 4, 1], [9, 3, 16, 4, 1], [0, 0, 160, 1, 10]]


def test_a_batch_larger_than_any_recording_is_computed() -> None:
    assert graphs_of(Copied, most_rows=2).run([DecodeRow(1, 1, 1, [1])] * 3) is None


def test_after_a_recording_that_failed_none_is_used(caplog: pytest.LogCaptureFixture) -> None:
    made: list[int] = []

    def record(compute: Callable[[], torch.Tensor]) -> Copied:
        made.append(1)
        if len(made) == 2:
            raise torch.OutOfMemoryError("no room for a graph")
        return Copied(compute)

    graphs = graphs_of(record)
    row = DecodeRow(1, 1, 1, [1])
    assert graphs.run([row]) is not None
    assert graphs.run([row, row]) is None
    assert graphs.run([row]) is None
    assert len(made) == 2
    assert "no room for a graph" in caplog.text


# -- what a device is asked ----------------------------------------------------------------------


class Questions(TorchDispatchMode):
    """Collects the operations whose answer the host waits for, which stop a GPU and cannot be recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in {"_local_scalar_dense", "nonzero", "masked_select", "unique", "equal"}:
            self.asked.append(str(func))
        return func(*args, **kwargs or {})


class NoAttention:
    """Reads nothing, so that what is left is the network's and the step's."""

    name, page_tokens, recordable = "none", 16, True

    def attend(self, query: torch.Tensor, *_args: Any, **_how: Any) -> torch.Tensor:
        return query


@pytest.mark.parametrize("name", CONFIGS)
def test_a_forward_asks_the_device_nothing(name: str) -> None:
    of_name = paged(name, NoAttention())
    readings = [Reading(of_name, tokens(length)) for length in (10, 40)]
    with Questions() as questions:
        of_name.run([reading.part(reading.unread_tokens - 1) for reading in readings])
        of_name.run([reading.part(1) for reading in readings])
    assert questions.asked == []


def test_inputs_of_a_recording_are_of_one_size() -> None:
    seen: list[DecodeInputs] = []
    graphs = DecodeGraphs(
        lambda inputs: (seen.append(inputs), inputs.numbers)[1],
        Copied,
        most_rows=8,
        most_pages=5,
        spare=DecodeRow(0, 0, 160, [10]),
        device=torch.device("cpu"),
    )
    graphs.run([DecodeRow(1, 1, 1, [1])] * 5)
    assert {(inputs.numbers.shape, inputs.tables.shape) for inputs in seen} == {((4, 8), (8, 5))}
