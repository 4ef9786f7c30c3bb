"""Batches of mixed lengths over paged keys and values give the logits of transformers' own forward."""

from __future__ import annotations

import random
from functools import cache

import pytest
import torch

from inference.engine.network.runner import Runner
from tests.engine.networks import CONFIGS, VOCABULARY, WINDOW, Reading, network, runner

LENGTHS = [1, 2, 15, 16, 17, WINDOW, WINDOW + 1, 63, 90, 130]
#: Logits of these networks range over about 10; rounding alone makes differences of 1e-5.
TOLERANCE = 1e-4


@cache
def tokens(length: int, seed: int = 0) -> list[int]:
    dice = random.Random(seed * 10000 + length)
    return [dice.randrange(VOCABULARY) for _ in range(length)]


@torch.inference_mode()
def reference(name: str, sequences: list[list[int]]) -> list[torch.Tensor]:
    """Transformers' logits after every token of each sequence, one sequence at a time."""
    plain = network(name, "sdpa")
    return [plain(input_ids=torch.tensor([ids])).logits[0] for ids in sequences]


def differences(
    readings: list[Reading], expected: list[torch.Tensor], *, chunk: int, dice: random.Random
) -> list[float]:
    """Read all to their ends, in each step some of them, by chunks or by single tokens; the largest of each step."""
    found: list[float] = []
    while unread := [index for index, reading in enumerate(readings) if reading.unread_tokens]:
        chosen = dice.sample(unread, dice.randint(1, len(unread)))
        parts = []
        for index in chosen:
            most = min(readings[index].unread_tokens, chunk if dice.random() < 0.4 else 1)
            parts.append(readings[index].part(dice.randint(1, most)))
        logits, _ = readings[0].runner.run(parts)
        rows = torch.stack([expected[index][readings[index].read_tokens - 1] for index in chosen])
        assert logits.dtype == torch.float32
        found.append(float((logits - rows).abs().max()))
    return found


def scatter(runner: Runner) -> None:
    """Leave only every other block free, so that no two of a sequence are neighbours."""
    every = runner.pool.take(runner.pool.blocks, after=None)
    runner.pool.release(every[::2])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("chunk", [7, 200])
@pytest.mark.parametrize("place", ["in lanes", "scattered"])
def test_logits_are_those_of_transformers(name: str, chunk: int, place: str) -> None:
    of_name = runner(name)
    if place == "scattered":
        scatter(of_name)
    sequences = [tokens(length) for length in LENGTHS]
    readings = [Reading(of_name, ids) for ids in sequences]
    expected = reference(name, sequences)
    assert max(float(logits.std()) for logits in expected) > 1  # they say something
    assert max(differences(readings, expected, chunk=chunk, dice=random.Random(1))) < TOLERANCE


@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
def test_sequences_that_decode_together_share_a_call_of_attention(name: str) -> None:
    of_name = runner(name, lanes=4)
    sequences = [tokens(40 + index, seed=1) for index in range(4)]
    readings = [Reading(of_name, ids) for ids in sequences]
    of_name.run([reading.part(reading.unread_tokens - 1) for reading in readings])
    logits, step = of_name.run([reading.part(1) for reading in reversed(readings)])
    expected = torch.stack([each[-1] for each in reversed(reference(name, sequences))])
    assert float((logits - expected).abs().max()) < TOLERANCE
    assert [len(step.reads(window)) for window in (None, WINDOW)] == [1, 1]


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_a_sequence_that_gave_way_is_read_again(name: str) -> None:
    of_name = runner(name)
    sequences = [tokens(70), tokens(90)]
    expected = reference(name, sequences)
    readings = [Reading(of_name, ids) for ids in sequences]
    of_name.run([reading.part(60) for reading in readings])
    readings[1].forget()
    Reading(of_name, tokens(200)).part(150)  # takes the place that it had
    assert max(differences(readings, expected, chunk=50, dice=random.Random(2))) < TOLERANCE


@pytest.mark.parametrize("name", ["llama", "gemma3"])
@pytest.mark.parametrize("prompt", [16, 37])
def test_forks_share_a_prompt_and_do_not_write_into_each_other(name: str, prompt: int) -> None:
    of_name = runner(name)
    first = Reading(of_name, tokens(prompt) + tokens(30, seed=1))
    of_name.run([first.part(prompt)])
    readings = [first, *(first.fork(tokens(30, seed=seed)) for seed in (2, 3))]
    assert of_name.pool.blocks - of_name.pool.free_blocks == -(-prompt // 16)
    expected = reference(name, [reading.token_ids for reading in readings])
    assert max(differences(readings, expected, chunk=9, dice=random.Random(3))) < TOLERANCE
    for reading in readings:
        reading.forget()
    of_name.pool.check([])
    assert of_name.pool.free_blocks == of_name.pool.blocks


@pytest.mark.parametrize("length", [600, 2000])
def test_long_prompts_beside_short_ones(length: int) -> None:
    of_name = runner("qwen3", tokens=8192)
    sequences = [tokens(length), tokens(3), tokens(300)]
    readings = [Reading(of_name, ids) for ids in sequences]
    expected = reference("qwen3", sequences)
    while any(reading.unread_tokens for reading in readings):
        unread = [index for index, reading in enumerate(readings) if reading.unread_tokens]
        logits, _ = of_name.run([readings[index].part(min(512, readings[index].unread_tokens)) for index in unread])
        rows = torch.stack([expected[index][readings[index].read_tokens - 1] for index in unread])
        assert float((logits - rows).abs().max()) < TOLERANCE
