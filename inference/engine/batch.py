"""The turns of one step, computed: one forward for all sequences of a model, and each for itself where that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from inference.engine.blocks import Extent
from inference.engine.generation import Generation
from inference.engine.model import LoadedModel
from inference.engine.owner import is_device_fault, is_out_of_memory
from inference.engine.sampler import Chosen, Fault, sample
from inference.engine.scheduler import Turn
from inference.events import Event

logger = logging.getLogger(__name__)

#: Told how many prompt tokens had no memory, says how many to try instead; None for no fewer.
Shrink = Callable[[int], int | None]


class Outcome(NamedTuple):
    """What a turn came to: events, or the fault that is its request's own."""

    generation: Generation
    events: list[Event]
    fault: Exception | None = None


def compute(turns: Sequence[Turn], *, shrink: Shrink) -> Iterator[Outcome]:
    """Compute the turns of a step, model by model; a turn whose request has ended meanwhile has no outcome.

    A fault of the device is raised. Where memory runs out, `shrink` says how many prompt tokens to try instead; what is
    left out waits for the next step. With any other fault in a batch each of its sequences is computed alone, which
    writes the same keys and values once more, and those fail that fail alone.
    """
    by_model: dict[LoadedModel, list[Turn]] = {}
    for turn in turns:
        by_model.setdefault(turn.generation.model, []).append(turn)
    for of_model in by_model.values():
        yield from _compute_together(of_model, shrink)


def _compute_together(turns: list[Turn], shrink: Shrink) -> Iterator[Outcome]:
    smaller: list[Turn] = []
    try:
        results = _sampled(turns)
    except Exception as fault:
        if is_device_fault(fault):
            raise
        logger.warning("a forward of %d sequences failed", len(turns), exc_info=fault)
        # The frames in its traceback hold the tensors that there was no room beside.
        results = [fault.with_traceback(None)] * len(turns)
        if is_out_of_memory(fault) and (fewer := shrink(_prompt_tokens(turns))):
            smaller = _cut(turns, fewer)
    if smaller:
        yield from _compute_together(smaller, shrink)
        return
    for turn, result in zip(turns, results, strict=True):
        if turn.generation.ended:  # by a fault in another of its sequences
            continue
        if not isinstance(result, Exception):
            yield _advanced(turn, result)
        elif len(turns) > 1:
            yield from _compute_together([turn], shrink)
        else:
            yield _failed(turn.generation, result)


def _prompt_tokens(turns: list[Turn]) -> int:
    return sum(turn.tokens for turn in turns if turn.tokens > 1)


def _cut(turns: list[Turn], prompt_tokens: int) -> list[Turn]:
    """The same step with so many prompt tokens, the first ones. Nobody who decodes is left out."""
    cut: list[Turn] = []
    for turn in turns:
        tokens = turn.tokens if turn.tokens == 1 else min(turn.tokens, prompt_tokens)
        prompt_tokens -= tokens if turn.tokens > 1 else 0
        if tokens:
            cut.append(turn._replace(tokens=tokens))
    return cut


def _sampled(turns: list[Turn]) -> list[int | Exception | None]:
    """One forward, and of each turn the token sampled after it; None where none is wanted."""
    parts = [turn.sequence.part(turn.tokens) for turn in turns]
    logits, _ = turns[0].generation.model.runner.run(parts)
    wanted = [turn.sequence.sampler_row for turn, part in zip(turns, parts, strict=True) if part.wanted]
    chosen = iter(sample(logits, wanted) if wanted else [])
    return [_token(next(chosen)) if part.wanted else None for part in parts]


def _token(chosen: Chosen | Fault) -> int | Exception:
    return FloatingPointError(chosen.reason) if isinstance(chosen, Fault) else chosen.token


def _advanced(turn: Turn, token_id: int | None) -> Outcome:
    try:
        return Outcome(turn.generation, turn.generation.advance(turn.sequence, turn.tokens, token_id))
    except Exception as fault:
        return _failed(turn.generation, fault)


def _failed(generation: Generation, fault: Exception) -> Outcome:
    """What the request wrote may be no numbers, which neighbours would read as padding: it is taken out again.

    So is what it only read, since that may be why. What others read too stays until they fail in their turn.
    """
    runner = generation.model.runner
    size = runner.pool.block_tokens
    for block in runner.pool.spoil(generation.tables):
        runner.key_values.clear([Extent(block * size, (block + 1) * size)])
    return Outcome(generation, [], fault)
