"""The turns of one step, computed: one forward for all sequences of a model, and each for itself where that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from torch import Tensor

from inference.engine.device.owner import is_device_fault, is_out_of_memory
from inference.engine.grammars.grammar import GrammarError
from inference.engine.memory.blocks import Extent
from inference.engine.model import LoadedModel
from inference.engine.requests.generation import Generation, Read
from inference.engine.sampling.logprobs import logprobs
from inference.engine.sampling.sampler import Chosen, Fault, SamplerRow, sample
from inference.engine.scheduling.scheduler import Turn
from inference.events import Event, TokenLogprob

logger = logging.getLogger(__name__)

#: Told how many prompt tokens had no memory, says how many to try instead; None for no fewer.
Shrink = Callable[[int], int | None]


class Outcome(NamedTuple):
    """What a turn came to: events, or the fault that is its request's own."""

    generation: Generation
    events: list[Event]
    fault: BaseException | None = None


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
        results = _read(turns)
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
        if isinstance(result, Read):
            yield _advanced(turn, result)
        elif len(turns) > 1 and not isinstance(result, GrammarError):
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


def _read(turns: list[Turn]) -> list[Read | Exception]:
    """One forward, and what it brought each turn."""
    parts = [turn.sequence.part(turn.tokens) for turn in turns]
    logits, forward = turns[0].generation.model.runner.run(parts)
    stops = list(accumulate(part.wanted for part in parts))
    sampled = [place for place, turn in enumerate(turns) if turn.sequence.samples(turn.tokens)]
    late = {place for place in sampled if not turns[place].sequence.sampler_row.ready}
    chosen = _sample(
        {
            stops[place] - 1: turns[place].sequence.sampler_row
            for place in sampled
            if place not in late and not turns[place].sequence.sampler_row.complete
        },
        logits,
    )
    results: list[Read | Exception] = []
    for place, (turn, part) in enumerate(zip(turns, parts, strict=True)):
        token = chosen.get(stops[place] - 1) if part.wanted else None
        if place in forward.broken:  # before it is known whether anybody asks for its logits
            token = FloatingPointError("the model's keys and values are not finite")
        if isinstance(token, Exception):
            results.append(token)
            continue
        told = _told(turn, logits[stops[place] - part.wanted : stops[place]])
        results.append(Read(turn.tokens - (place in late), token, told, place in late))
    return results


def _sample(rows: dict[int, SamplerRow], logits: Tensor) -> dict[int, Chosen | Exception]:
    """The token of each of these rows of the logits."""
    if not rows:
        return {}
    sampled = sample(logits if len(rows) == len(logits) else logits[list(rows)], list(rows.values()))
    return {
        place: _exception(row, chosen) if isinstance(chosen, Fault) else chosen
        for (place, row), chosen in zip(rows.items(), sampled, strict=True)
    }


def _exception(row: SamplerRow, fault: Fault) -> Exception:
    """A grammar that cannot go on is told to the client; logits that are no numbers are ours."""
    broken = row.constraint is not None and row.constraint.error
    return GrammarError(fault.reason) if broken else FloatingPointError(fault.reason)


def _told(turn: Turn, logits: Tensor) -> list[TokenLogprob]:
    """Log-probabilities of prompt tokens, each by the logits of the token before it."""
    top, tokens = turn.generation.request.prompt_logprobs, turn.sequence.told(turn.tokens)
    if top is None or not tokens:
        return []
    vocabulary = turn.generation.model.vocabulary
    return [vocabulary.spelled(each) for each in logprobs(logits[: len(tokens)], tokens, top=[top] * len(tokens))]


def _advanced(turn: Turn, read: Read) -> Outcome:
    try:
        return Outcome(turn.generation, turn.generation.advance(turn.sequence, read))
    except BaseException as fault:  # a tokenizer in Rust panics with what is no Exception
        return _failed(turn.generation, fault)


def _failed(generation: Generation, fault: BaseException) -> Outcome:
    """What the request wrote may be no numbers, which neighbours would read as padding: it is taken out again.

    So is what it only read, since that may be why. What others read too stays until they fail in their turn.
    """
    try:
        _wipe(generation)
    except Exception as second:
        if is_device_fault(second):
            raise
        logger.exception("request %s: what it wrote could not be wiped", generation.id)
    return Outcome(generation, [], fault)


def _wipe(generation: Generation) -> None:
    runner = generation.model.runner
    size = runner.pool.block_tokens
    for block in runner.pool.spoil(generation.tables):
        runner.key_values.clear([Extent(block * size, (block + 1) * size)])
