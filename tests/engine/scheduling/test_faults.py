"""An exception at any point of a request's way fails the requests concerned, and nobody beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from llguidance import LLMatcher

from inference.engine import Engine
from inference.engine.answers.detokenizer import Detokenizer
from inference.engine.grammars.grammar import Constraint
from inference.engine.loading import weights
from inference.engine.memory.blocks import BLOCK_TOKENS, BlockCopy, BlockTable
from inference.engine.memory.key_values import KeyValues
from inference.engine.memory.prefix_cache import PrefixCache, Salt
from inference.engine.sampling.sampler import SamplerRow
from inference.events import Failed, Finished
from inference.grammars import Regex
from inference.policies import AdmissionPolicy
from inference.requests import GenerationRequest, Sampling
from tests.engine.conftest import Listener, request_for

#: No other request has this temperature or this text, by which the injected fault knows its request.
MARKED = 0.987
MARK = "Ω"
SECRET = "a path that no client should see"

Inject = Callable[[pytest.MonkeyPatch, Engine], None]


def marked() -> GenerationRequest:
    sampling = Sampling(seed=1, temperature=MARKED)
    grammar = Regex("[a-z ]{60}")
    return request_for("bad", MARK, sampling=sampling, grammar=grammar, max_tokens=40, n=2, account=MARK)


@pytest.fixture
def engine(endless: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(weights, "DTYPE", torch.float32)
    engine = Engine("cpu", publish=listener, admission=AdmissionPolicy(max_in_flight=4), kv_tokens=1024)
    engine.load("tiny", str(endless))
    yield engine
    engine.close()


def raise_for(when: Callable[..., bool], original: Callable[..., Any], fault: BaseException) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if when(*args, **kwargs):
            raise fault
        return original(*args, **kwargs)

    return call


def tokenizer(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    inner = type(engine._models["tiny"].prompts._tokenizer)
    broken = raise_for(lambda _self, texts, **_: MARK in texts[0], inner.__call__, RuntimeError(SECRET))
    patch.setattr(inner, "__call__", broken)


def tokenizer_panic(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    prompts = engine._models["tiny"].prompts
    broken = raise_for(lambda messages, **_: messages[0]["content"] == MARK, prompts.encode, BaseException(SECRET))
    patch.setattr(prompts, "encode", broken)


def template(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    renderer = engine._models["tiny"].prompts._renderer
    broken = raise_for(lambda _, asked: asked.messages[0]["content"] == MARK, renderer.render, KeyError(SECRET))
    patch.setattr(renderer, "render", broken)


def panic(*_args: Any, **_kwargs: Any) -> None:
    """As a library in Rust does: its exceptions of this kind are no Exception."""
    raise BaseException(SECRET)


def grammar_definition(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    patch.setattr(LLMatcher, "grammar_from_regex", panic)


def grammar_compile(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    patch.setattr("inference.engine.grammars.grammar.LLMatcher", panic)


def grammar_mask(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    patch.setattr(Constraint, "_mask", raise_for(lambda *args: len(args) > 1, Constraint._mask, RuntimeError(SECRET)))


def sampler(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    def is_marked(row: SamplerRow, *_: Any) -> bool:
        return row.sampling.temperature == MARKED and row.position == 3

    patch.setattr(SamplerRow, "adjust", raise_for(is_marked, SamplerRow.adjust, RuntimeError(SECRET)))


def sampler_row(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    def is_marked(row: SamplerRow, *_: Any) -> bool:
        return row.sampling.temperature == MARKED and row.position == 3

    patch.setattr(SamplerRow, "accept", raise_for(is_marked, SamplerRow.accept, RuntimeError(SECRET)))


def detokenizer(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    break_detokenizer(patch, engine, RuntimeError(SECRET))


def detokenizer_panic(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    break_detokenizer(patch, engine, BaseException(SECRET))


def break_detokenizer(patch: pytest.MonkeyPatch, engine: Engine, fault: BaseException) -> None:
    prompts = engine._models["tiny"].prompts
    ids = prompts.encode([{"role": "user", "content": MARK}]).token_ids
    init = Detokenizer.__init__
    own: list[Detokenizer] = []

    def note(self: Detokenizer, inner: Any, prompt_ids: Any) -> None:
        init(self, inner, prompt_ids)
        if list(prompt_ids) == ids:
            own.append(self)

    patch.setattr(Detokenizer, "__init__", note)
    is_own = raise_for(lambda self, _: any(self is one for one in own), Detokenizer.push, fault)
    patch.setattr(Detokenizer, "push", is_own)


def holds_marked(engine: Engine, slots: torch.Tensor) -> bool:
    """Whether memory of the marked request is among the slots."""
    generation = engine._submissions._generations.get("bad")
    blocks = {block for table in generation.tables for block in table.blocks} if generation else set()
    return any(slot // BLOCK_TOKENS in blocks for slot in slots.tolist())


def memory_write(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    def is_marked(_self: KeyValues, _layer: int, slots: torch.Tensor, *_: Any) -> bool:
        return holds_marked(engine, slots)

    patch.setattr(KeyValues, "write", raise_for(is_marked, KeyValues.write, RuntimeError(SECRET)))


def memory_copy(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    """Its second choice has the prompt copied. It alone has one."""
    size = BLOCK_TOKENS

    def is_marked(_self: KeyValues, block: BlockCopy) -> bool:
        return holds_marked(engine, torch.tensor([block.source * size, block.target * size]))

    patch.setattr(KeyValues, "copy", raise_for(is_marked, KeyValues.copy, RuntimeError(SECRET)))


def block_table(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    def is_marked(table: BlockTable, first: int, _stop: int) -> bool:
        return table._salt.account == MARK and first > 25

    patch.setattr(BlockTable, "reserve", raise_for(is_marked, BlockTable.reserve, KeyError(SECRET)))


def prefix_find(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    def is_marked(_self: PrefixCache, salt: Salt, *_: Any, **__: Any) -> bool:
        return salt.account == MARK

    patch.setattr(PrefixCache, "find", raise_for(is_marked, PrefixCache.find, KeyError(SECRET)))


def prefix_keep(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    def is_marked(_self: PrefixCache, _block: int, before: Any, *_: Any) -> bool:
        return isinstance(before, Salt) and before.account == MARK

    patch.setattr(PrefixCache, "keep", raise_for(is_marked, PrefixCache.keep, KeyError(SECRET)))


def sampler_and_wiping(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    sampler(patch, engine)
    patch.setattr(KeyValues, "clear", raise_for(lambda *_: True, KeyValues.clear, RuntimeError(SECRET)))


def sampler_and_release(patch: pytest.MonkeyPatch, engine: Engine) -> None:
    """Memory that is not given back is lost, and nothing else."""
    sampler(patch, engine)
    is_marked = raise_for(lambda table: table._salt.account == MARK, BlockTable.release, RuntimeError(SECRET))
    patch.setattr(BlockTable, "release", is_marked)


BEFORE_IT_BEGINS = [
    tokenizer,
    tokenizer_panic,
    template,
    grammar_definition,
    grammar_compile,
    memory_write,
    prefix_find,
]
ON_THE_WAY = [
    grammar_mask,
    sampler,
    sampler_row,
    detokenizer,
    detokenizer_panic,
    memory_copy,
    block_table,
    prefix_keep,
    sampler_and_wiping,
    sampler_and_release,
]


@pytest.mark.parametrize("inject", [*BEFORE_IT_BEGINS, *ON_THE_WAY])
def test_a_fault_fails_its_request_and_the_others_answer_as_they_do_alone(
    engine: Engine, listener: Listener, monkeypatch: pytest.MonkeyPatch, inject: Inject
) -> None:
    others = {"greedy": Sampling(temperature=0), "seeded": Sampling(seed=7, top_p=0.9)}
    for name, sampling in others.items():
        engine.submit(request_for(f"{name} alone", sampling=sampling, max_tokens=50))
        listener.final(f"{name} alone")
    inject(monkeypatch, engine)
    engine.submit(request_for("greedy", sampling=others["greedy"], max_tokens=50))
    engine.submit(marked())
    engine.submit(request_for("seeded", sampling=others["seeded"], max_tokens=50))
    failed = listener.final("bad")
    assert isinstance(failed, Failed)
    assert SECRET not in failed.message
    assert bool(failed.prompt_tokens) == (inject in ON_THE_WAY)
    for name in others:
        assert isinstance(listener.final(name), Finished)
        assert listener.text(name) == listener.text(f"{name} alone")
    monkeypatch.undo()
    engine.submit(request_for("after", max_tokens=3))
    assert isinstance(listener.final("after"), Finished)
    assert engine.running() == ["after"] or engine.running() == []

    if inject is not sampler_and_release:
        engine.check()


def test_without_a_fault_the_marked_request_ends_well(engine: Engine, listener: Listener) -> None:
    engine.submit(marked())
    assert isinstance(listener.final("bad"), Finished)
