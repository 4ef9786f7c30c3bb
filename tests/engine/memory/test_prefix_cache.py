"""What an account has read before is not computed again; what another one has read is never found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inference.engine.answers.transcript import Shown
from inference.engine.loading import weights
from inference.engine.memory import prefix_cache
from inference.engine.memory.blocks import BLOCK_TOKENS, BlockCopy, BlockPool, BlockTable
from inference.engine.model import LoadedModel
from inference.events import Failed, Finished, Started
from inference.requests import Sampling
from tests.engine.stepped import Stepped, loaded
from tests.models import tiny_model

LONG = "the river runs past the old town " * 30


@pytest.fixture(scope="module")
def model(endless: Path) -> LoadedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "DTYPE", torch.float32)
        return loaded(endless)


@pytest.fixture
def engine(model: LoadedModel) -> Stepped:
    return Stepped(model)


def started(engine: Stepped, request_id: str) -> Started:
    [event] = [event for event in engine.listener.events[request_id] if isinstance(event, Started)]
    return event


def computed_by(engine: Stepped, request_id: str, content: str, **fields: object) -> int:
    before = sum(engine.computed)
    assert isinstance(engine.answer(request_id, content, **fields), Finished)
    return sum(engine.computed) - before


# -- blocks --------------------------------------------------------------------------------------


def ids(blocks: int, seed: int = 0) -> list[int]:
    return [seed * 1000 + index for index in range(blocks * BLOCK_TOKENS)]


def written(pool: BlockPool, token_ids: list[int], account: str | None = None, room: int = 0) -> BlockTable:
    """A table that has read the tokens, or attached itself to those who have."""
    table = BlockTable(pool, account=account, room_tokens=room)
    table.attach(token_ids)
    table.reserve(len(table.blocks) * BLOCK_TOKENS, len(token_ids))
    table.record(token_ids, len(token_ids))
    return table


def test_a_table_goes_on_in_place_behind_blocks_that_nobody_uses() -> None:
    pool = BlockPool(32 * BLOCK_TOKENS, lanes=4)
    first = written(pool, ids(3))
    blocks = list(first.blocks)
    first.release()
    again = BlockTable(pool)
    assert again.attach([*ids(3), 7, 8]) == []
    assert again.blocks == blocks
    again.reserve(3 * BLOCK_TOKENS, 5 * BLOCK_TOKENS)
    assert len(again.extents()) == 1
    pool.check([again])


def test_blocks_are_copied_where_the_table_could_not_grow_behind_them() -> None:
    pool = BlockPool(32 * BLOCK_TOKENS, lanes=4)
    other = written(pool, ids(3))
    table = BlockTable(pool)
    assert table.attach([*ids(2), 7, 8]) == [BlockCopy(0, 8), BlockCopy(1, 9)]
    table.reserve(2 * BLOCK_TOKENS, 4 * BLOCK_TOKENS)
    assert len(table.extents()) == 1
    pool.check([other, table])


def test_blocks_are_shared_where_neighbours_do_not_matter() -> None:
    pool = BlockPool(8 * BLOCK_TOKENS, lanes=4, neighbours=False)
    tables = [written(pool, [*ids(2), number]) for number in range(3)]
    assert pool.free_blocks == 8 - 2 - 3
    pool.check(tables)


def test_the_last_token_is_never_taken_from_memory() -> None:
    pool = BlockPool(8 * BLOCK_TOKENS, lanes=1)
    written(pool, ids(2)).release()
    assert len(BlockTable(pool).known_blocks(ids(2))) == 1
    assert len(BlockTable(pool).known_blocks([*ids(2), 5])) == 2


def test_what_was_used_longest_ago_is_taken_first() -> None:
    pool = BlockPool(8 * BLOCK_TOKENS, lanes=4)
    for seed in (1, 2, 3, 4):
        written(pool, ids(2, seed)).release()
    assert pool.free_blocks == 8
    written(pool, ids(2, 1)).release()  # used again
    written(pool, ids(2, 5)).release()
    known = {seed: len(BlockTable(pool).known_blocks([*ids(2, seed), 0])) for seed in range(1, 6)}
    assert known == {1: 2, 2: 0, 3: 2, 4: 2, 5: 2}
    pool.check([])


def test_lanes_do_not_cost_what_is_kept_while_other_memory_is_empty() -> None:
    pool = BlockPool(64 * BLOCK_TOKENS, lanes=2)
    for seed in range(8):  # four times as many as there are lanes
        written(pool, ids(8, seed), room=8 * BLOCK_TOKENS).release()
    assert all(len(BlockTable(pool).known_blocks([*ids(8, seed), 0])) == 8 for seed in range(8))


def test_what_makes_room_takes_its_content_along() -> None:
    moves: list[BlockCopy] = []
    pool = BlockPool(8 * BLOCK_TOKENS, lanes=1, move=moves.append)
    written(pool, ids(2, 1)).release()
    table = written(pool, ids(2, 2))
    assert table.blocks == [0, 1]
    assert moves == [BlockCopy(0, 7), BlockCopy(1, 6)]
    assert BlockTable(pool).known_blocks([*ids(2, 1), 0]) == [7, 6]
    pool.check([table])


def test_what_is_behind_a_block_that_went_is_gone_too() -> None:
    pool = BlockPool(4 * BLOCK_TOKENS, lanes=1)
    table = written(pool, ids(4))
    first = table.blocks[0]
    assert pool.spoil([table]) == table.blocks
    table.release()
    assert first not in pool.prefixes
    assert BlockTable(pool).known_blocks(ids(4)) == []
    pool.check([])


class Colliding(bytes):
    __hash__ = lambda self: 0  # type: ignore[assignment]  # noqa: E731


def test_tokens_whose_hashes_collide_are_not_taken_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    content_of = prefix_cache.content_of
    monkeypatch.setattr(prefix_cache, "content_of", lambda token_ids: Colliding(content_of(token_ids)))
    pool = BlockPool(16 * BLOCK_TOKENS, lanes=1)
    assert hash(prefix_cache.content_of(ids(1, 1))) == hash(prefix_cache.content_of(ids(1, 2)))
    tables = [written(pool, ids(3, seed)) for seed in (1, 2)]
    assert BlockTable(pool).known_blocks([*ids(3, 1), 0]) == tables[0].blocks
    assert BlockTable(pool).known_blocks([*ids(3, 2), 0]) == tables[1].blocks
    assert BlockTable(pool).known_blocks(ids(3, 3)) == []


def test_the_same_tokens_behind_others_are_other_blocks() -> None:
    pool = BlockPool(16 * BLOCK_TOKENS, lanes=1)
    one, two = [*ids(1, 1), *ids(1)], [*ids(1, 2), *ids(1)]
    tables = [written(pool, one), written(pool, two)]
    assert BlockTable(pool).known_blocks([*two, 0]) == tables[1].blocks


# -- requests ------------------------------------------------------------------------------------


def test_a_prompt_that_comes_again_is_not_computed_again(engine: Stepped) -> None:
    cold = computed_by(engine, "cold", LONG, max_tokens=20)
    warm = computed_by(engine, "warm", LONG, max_tokens=20)
    prompt_tokens = started(engine, "cold").prompt_tokens
    assert started(engine, "cold").cached_tokens == 0
    cached = started(engine, "warm").cached_tokens
    assert cached == (prompt_tokens - 1) // BLOCK_TOKENS * BLOCK_TOKENS
    assert warm == cold - cached
    assert engine.listener.final("warm") == Finished("length", prompt_tokens, 20, cached)
    assert engine.listener.text("warm") == engine.listener.text("cold")


@pytest.mark.parametrize("accounts", [("a", "b"), ("a", None), (None, "a")])
def test_another_accounts_prompt_costs_what_a_cold_one_costs(
    engine: Stepped, accounts: tuple[str | None, str | None]
) -> None:
    first, second = accounts
    cold = computed_by(engine, "first", LONG, max_tokens=20, account=first)
    assert computed_by(engine, "second", LONG, max_tokens=20, account=second) == cold
    assert started(engine, "second").cached_tokens == 0
    assert engine.listener.text("second") == engine.listener.text("first")


def test_keys_of_an_account_share_what_it_has_read(engine: Stepped) -> None:
    engine.answer("first", LONG, max_tokens=1, account="a", key="1")
    engine.answer("second", LONG, max_tokens=1, account="a", key="2")
    assert started(engine, "second").cached_tokens > 0


def test_a_second_turn_finds_the_first_answer_too(engine: Stepped) -> None:
    engine.answer("first", LONG, max_tokens=100)
    first_tokens = started(engine, "first").prompt_tokens
    token_ids = engine.model.prompts.encode([{"role": "user", "content": LONG}]).token_ids
    answer_ids = engine.model.tokenizer.encode(engine.listener.text("first"), add_special_tokens=False).ids
    table = BlockTable(engine.model.runner.pool)
    known = len(table.known_blocks([*token_ids, *answer_ids])) * BLOCK_TOKENS
    assert known > first_tokens + 50


@pytest.mark.parametrize("architecture", ["gemma3", "qwen3"])  # the first with layers that see a window only
def test_an_answer_behind_what_was_in_memory_is_the_cold_one(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "DTYPE", torch.float32)
    of_kind = loaded(tiny_model(tmp_path / "m", architecture, eos=False, sliding_window=24))  # type: ignore[arg-type]
    cold, warm = Stepped(of_kind), Stepped(of_kind)
    cold.answer("one", f"{LONG} And then?", max_tokens=60)
    warm.answer("before", LONG, max_tokens=30)
    warm.answer("one", f"{LONG} And then?", max_tokens=60)
    assert started(warm, "one").cached_tokens > 200
    assert warm.listener.text("one") == cold.listener.text("one")


def test_those_that_run_beside_each_other_share_a_beginning(engine: Stepped) -> None:
    engine.submit("first", LONG, max_tokens=60)
    while "first" not in engine.listener.events:
        engine.step()
    for number in range(3):
        engine.submit(f"r{number}", f"{LONG} {number}", max_tokens=60)
    engine.run()
    assert all(started(engine, f"r{number}").cached_tokens > 200 for number in range(3))
    alone = Stepped(engine.model)
    alone.answer("r1", f"{LONG} 1", max_tokens=60)
    assert engine.listener.text("r1") == alone.listener.text("r1")


def test_a_cancelled_prompt_is_found_as_far_as_it_was_read(engine: Stepped) -> None:
    engine.submit("one", LONG * 3, max_tokens=20)
    engine.step()
    assert engine.submissions.cancel("one")
    engine.run()
    engine.answer("two", LONG * 3, max_tokens=1)
    assert started(engine, "two").cached_tokens == 512


# -- failures ------------------------------------------------------------------------------------


def test_what_a_failed_request_wrote_is_never_found(engine: Stepped, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first chunk is read without a fault; that it is no numbers shows at the first token sampled."""
    network = engine.model.network
    handle = network.get_input_embeddings().register_forward_hook(lambda _module, _args, out: out * float("nan"))
    assert isinstance(engine.answer("bad", LONG * 3, max_tokens=5), Failed)
    handle.remove()
    assert isinstance(engine.answer("good", LONG * 3, max_tokens=5), Finished)
    assert started(engine, "good").cached_tokens == 0
    key_values = engine.model.runner.key_values
    assert torch.isfinite(key_values.keys).all()
    assert torch.isfinite(key_values.values).all()


def test_a_failure_takes_nothing_from_those_who_read_the_same(engine: Stepped) -> None:
    """One of two that share a beginning fails; the other one goes on, on numbers that are still there."""
    alone = Stepped(engine.model)
    alone.answer("good", f"{LONG} 1", max_tokens=60)
    engine.answer("before", LONG, max_tokens=1)
    engine.submit("good", f"{LONG} 1", max_tokens=60)
    engine.submit("bad", f"{LONG} 2", max_tokens=60, sampling=Sampling(temperature=0))
    for _ in range(10):
        engine.step()
    bad = next(place for place in engine.scheduler._running if place.generation.id == "bad")

    def raise_for_text(_token: int, _logprob: object) -> Shown:
        raise RuntimeError("no text")

    bad.sequence._transcript.push = raise_for_text  # type: ignore[method-assign]
    engine.run()
    assert isinstance(engine.listener.final("bad"), Failed)
    assert isinstance(engine.listener.final("good"), Finished)
    assert engine.listener.text("good") == alone.listener.text("good")
