"""Decodes read copies of their keys that are kept from step to step: what they read is what is in memory, always."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch

from inference.engine.memory.kept_rows import Group, Kept, KeptRows, Member
from tests.engine.network.test_runner import TOLERANCE, reference, tokens
from tests.engine.networks import Reading, runner

LENGTHS = [70, 75, 90]
PROMPT = 20


def together(readings: Sequence[Reading], expected: Sequence[torch.Tensor], steps: int) -> None:
    """Decode all by so many tokens; each step's logits are transformers'."""
    for _ in range(steps):
        logits, _ = readings[0].runner.run([reading.part(1) for reading in readings])
        rows = torch.stack([each[reading.read_tokens - 1] for reading, each in zip(readings, expected, strict=True)])
        assert float((logits - rows).abs().max()) < TOLERANCE


def begun(name: str) -> tuple[list[Reading], list[torch.Tensor]]:
    """Sequences whose prompts are read, and what their logits will be."""
    of_name = runner(name)
    sequences = [tokens(length) for length in LENGTHS]
    readings = [Reading(of_name, ids) for ids in sequences]
    of_name.run([reading.part(PROMPT + index) for index, reading in enumerate(readings)])
    return readings, reference(name, sequences)


@contextmanager
def copies_counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How often a layer's keys and values are copied from memory."""
    from inference.engine.attention import attention

    counted = [0]
    lay_out = attention._lay_out

    def count(pool: torch.Tensor, read: object, onto: torch.Tensor) -> torch.Tensor:
        counted[0] += 1
        return lay_out(pool, read, onto)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(attention, "_lay_out", count)
        yield counted


@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
def test_steps_that_follow_one_another_copy_only_where_they_read_more(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings, expected = begun(name)
    with copies_counted(monkeypatch) as counted:
        together(readings, expected, steps=45)
    most = 2 * len(readings[0].runner.network.model.layers) * 45
    assert 0 < counted[0] < most / 4 or name == "gemma3"  # whose windows move with every step


@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
def test_who_leaves_and_comes_back_is_read_as_it_is(name: str) -> None:
    readings, expected = begun(name)
    together(readings, expected, steps=3)
    together(readings[:2], expected[:2], steps=2)
    together(readings, expected, steps=3)
    together(readings[1:], expected[1:], steps=1)


def test_a_step_that_fails_leaves_nothing_half_done(monkeypatch: pytest.MonkeyPatch) -> None:
    readings, expected = begun("qwen3")
    together(readings, expected, steps=3)
    last = readings[0].runner.network.model.layers[-1]
    with monkeypatch.context() as patched:
        patched.setattr(last, "mlp", None)
        with pytest.raises(TypeError):
            readings[0].runner.run([reading.part(1) for reading in readings])
    for reading in readings:
        reading.read_tokens -= 1
    together(readings, expected, steps=3)


def test_what_another_sequence_left_in_the_same_place_is_not_read() -> None:
    readings, expected = begun("qwen3")
    together(readings, expected, steps=3)
    of_name, at = readings[0].runner, readings[1].read_tokens
    readings[1].forget()
    other = Reading(of_name, tokens(LENGTHS[1], seed=5))
    of_name.run([other.part(at)])
    others = reference("qwen3", [other.token_ids])
    together([readings[0], other, readings[2]], [expected[0], others[0], expected[2]], steps=3)


def test_only_the_very_next_step_goes_on_with_what_is_kept() -> None:
    rows = KeptRows(1000)
    assert copied(rows, {1: 5})
    assert not copied(rows, {1: 6})
    assert copied(rows, {1: 8})
    assert copied(rows, {1: 8})
    assert copied(rows, {1: 9}, width=64)
    with rows:
        pass
    assert copied(rows, {1: 10}, width=64)


def test_the_memory_of_a_group_that_is_no_more_serves_the_one_most_like_it() -> None:
    rows = KeptRows(1000)
    one, two = read(rows, {1: 5}), read(rows, {1: 6, 2: 7})
    assert same_memory(two, one), "there is room for two"
    three = read(rows, {1: 7, 2: 8, 3: 9})
    assert not same_memory(three, one), "there is none for three"
    assert same_memory(read(rows, {1: 8, 3: 10}), three)
    assert not same_memory(read(rows, {8: 5}), three), "a group that shares nobody might be read beside the other"


def test_a_group_that_goes_on_keeps_its_memory_beside_a_new_one() -> None:
    rows = KeptRows(1000)
    before = read(rows, {1: 5, 2: 6})
    with rows:
        new, old = rows.of(group({3: 9}), None), rows.of(group({1: 6, 2: 7}), None)
        assert new is not None
        assert old is not None
        assert not same_memory(filled(new, {3: 9}), before)
        assert same_memory(filled(old, {1: 6, 2: 7}), before)


def group(tokens: dict[int, int], width: int = 32) -> Group:
    """Sequences by the number of their table, and their tokens."""
    return Group(tuple(Member(table, count) for table, count in tokens.items()), width)


def filled(
    kept: Kept, tokens: dict[int, int], copy: Callable[[torch.Tensor], object] = torch.Tensor.zero_
) -> torch.Tensor:
    return kept.read(0, torch.ones(1, len(tokens), 2), copy)


def read(rows: KeptRows, tokens: dict[int, int], width: int = 32) -> torch.Tensor:
    """What a step of these sequences reads."""
    with rows:
        kept = rows.of(group(tokens, width), None)
        assert kept is not None
        return filled(kept, tokens)


def copied(rows: KeptRows, tokens: dict[int, int], width: int = 32) -> bool:
    """Whether a step of these sequences copies all that it reads."""
    calls = []
    with rows:
        kept = rows.of(group(tokens, width), None)
        assert kept is not None
        filled(kept, tokens, calls.append)
    return bool(calls)


def same_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def test_no_more_is_kept_than_may_be() -> None:
    rows = KeptRows(100)
    small, large = (Group((Member(number, 5),), width) for number, width in ((1, 64), (2, 64)))
    with rows:
        assert rows.of(small, None) is not None
        assert rows.of(large, None) is None
