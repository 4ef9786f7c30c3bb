"""Answers keep to their grammar, and a grammar that cannot be kept fails whoever sent it and nobody else."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from inference.engine import grammar_definitions as definitions
from inference.engine.grammar import Constraint, GrammarError, Grammars
from inference.engine.sampler import Chosen, Fault, SamplerRow, sample
from inference.requests import Sampling
from tests.models import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
VOCABULARY = 384
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")
#: Closing tokens are likelier, as in a model that means to come to an end.
CLOSING = {**{TOKENIZER.convert_tokens_to_ids(text): 6.0 for text in '"]}'}, END: 6.0}


@pytest.fixture(scope="module")
def grammars() -> Iterator[Grammars]:
    grammars = Grammars(TOKENIZER.backend_tokenizer, vocabulary=VOCABULARY, end_token_ids=[END])
    yield grammars
    grammars.close()


def row_of(constraint: Constraint, *, seed: int = 0) -> SamplerRow:
    return SamplerRow(Sampling(seed=seed, logit_bias=CLOSING), [], vocabulary=VOCABULARY, constraint=constraint)


def write(rows: list[SamplerRow], *, most_tokens: int = 400) -> list[str | Fault]:
    """What rows of random logits write, all in one batch: the text up to its end, or the fault."""
    tokens: list[list[int]] = [[] for _ in rows]
    faults: dict[int, Fault] = {}
    running = list(range(len(rows)))
    generator = torch.Generator().manual_seed(0)
    for _ in range(most_tokens):
        logits = torch.randn(len(running), VOCABULARY, generator=generator)
        for place, chosen in zip(list(running), sample(logits, [rows[place] for place in running]), strict=True):
            if isinstance(chosen, Fault):
                faults[place] = chosen
            elif chosen.token != END:
                tokens[place].append(chosen.token)
                rows[place].accept(chosen.token)
                continue
            running.remove(place)
        if not running:
            break
    assert not running, f"{len(running)} rows never ended"
    return [faults.get(place) or TOKENIZER.decode(ids) for place, ids in enumerate(tokens)]


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "ü"]}, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


def assert_person(value: Any) -> None:
    assert set(value) == {"name", "age", "tags"}
    assert isinstance(value["name"], str)
    assert len(value["name"]) <= 8
    assert 0 <= value["age"] <= 150
    assert len(value["tags"]) <= 3
    assert set(value["tags"]) <= {"a", "b", "ü"}


def test_every_row_of_a_batch_keeps_to_its_own_schema(grammars: Grammars) -> None:
    person = grammars.compile(definitions.json_schema(PERSON, strict=True))
    number = grammars.compile(definitions.json_schema({"type": "integer", "minimum": 7, "maximum": 12}, strict=True))
    rows = [row_of(source.fork(), seed=seed) for seed in range(10) for source in (person, number)]
    texts = write(rows)
    for text in texts[::2]:
        assert isinstance(text, str)
        assert_person(json.loads(text))
    assert {json.loads(text) for text in texts[1::2] if isinstance(text, str)} <= set(range(7, 13))
    assert len(set(texts[::2])) > 1


def test_any_object_is_an_object(grammars: Grammars) -> None:
    constraint = grammars.compile(definitions.json_object())
    for text in write([row_of(constraint.fork(), seed=seed) for seed in range(5)]):
        assert isinstance(text, str)
        assert isinstance(json.loads(text), dict)


def test_regex_and_lark(grammars: Grammars) -> None:
    pattern = r"[a-c]{2,5}-\d{3}"
    date, [colour] = grammars.compile(definitions.regex(pattern)), ['start: "red" | "green" | "blue"']
    texts = write([row_of(date), row_of(grammars.compile(definitions.lark(colour)))])
    assert isinstance(texts[0], str)
    assert re.fullmatch(pattern, texts[0])
    assert texts[1] in {"red", "green", "blue"}


def test_a_call_is_of_one_of_the_tools_with_its_own_arguments(grammars: Grammars) -> None:
    """A reference within a tool's schema is to that schema, and a name may hold anything."""
    referring = {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/n"}},
        "required": ["n"],
        "additionalProperties": False,
        "$defs": {"n": {"enum": [1, 2]}},
    }
    tools = {"person": PERSON, 'odd "name"': referring}
    constraint = grammars.compile(definitions.tool_call(tools, strict=True))
    names = set()
    for text in write([row_of(constraint.fork(), seed=seed) for seed in range(12)]):
        assert isinstance(text, str)
        call = json.loads(text)
        names.add(call["name"])
        if call["name"] == "person":
            assert_person(call["arguments"])
        else:
            assert call["arguments"] in ({"n": 1}, {"n": 2})
    assert names == set(tools)


def test_rows_without_a_grammar_are_not_touched_by_their_neighbours(grammars: Grammars) -> None:
    logits = torch.randn(2, VOCABULARY, generator=torch.Generator().manual_seed(1))
    plain = SamplerRow(Sampling(seed=3), [], vocabulary=VOCABULARY)
    constrained = row_of(grammars.compile(definitions.regex("x")))
    assert sample(logits, [constrained, plain])[1] == sample(logits[1:], [plain])[0]


def test_keywords_that_cannot_be_enforced_are_named_when_strict_and_left_out_otherwise(grammars: Grammars) -> None:
    schema = {"type": "integer", "minimum": 1, "maximum": 3, "not": {"const": 2}}
    with pytest.raises(GrammarError, match="not"):
        grammars.compile(definitions.json_schema(schema, strict=True))
    [text] = write([row_of(grammars.compile(definitions.json_schema(schema, strict=False)))])
    assert text in {"1", "2", "3"}


@pytest.mark.parametrize(
    "definition",
    [
        lambda: definitions.json_schema({"type": "objekt"}, strict=True),
        lambda: definitions.json_schema({"$ref": "#/$defs/none"}, strict=True),
        lambda: definitions.json_schema({"$ref": "https://example.com/schema"}, strict=True),
        lambda: definitions.json_schema({"type": "string", "pattern": "("}, strict=True),
        lambda: definitions.regex("(?=a)b"),
        lambda: definitions.lark("start: nothing"),
        lambda: definitions.lark("start: start"),
        lambda: definitions.lark('start: "a"' + ' | "a"' * 4000),
        lambda: definitions.json_schema({"$ref": "#"}, strict=True),
        lambda: definitions.lark("start: " + "(" * 9000 + '"a"' + ")" * 9000),
        lambda: definitions.json_schema(nested(3000), strict=True),
    ],
)
def test_a_grammar_that_is_none_is_refused(grammars: Grammars, definition: Any) -> None:
    with pytest.raises(GrammarError):
        grammars.compile(definition())


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def test_a_long_chain_of_references_does_not_end_the_process(grammars: Grammars) -> None:
    """On a stack of the usual size it would, and there would be no process to report it."""
    links = {f"r{n}": {"type": "array", "items": {"$ref": f"#/$defs/r{n + 1}"}} for n in range(1900)}
    schema = {"$ref": "#/$defs/r0", "$defs": {**links, "r1900": {"type": "integer"}}}
    constraint = grammars.compile(definitions.json_schema(schema, strict=True))
    assert constraint.forbidden.any()
    assert constraint.error == ""


def test_a_definition_that_is_too_long_is_refused(grammars: Grammars) -> None:
    with pytest.raises(GrammarError, match="128 KiB"):
        grammars.compile(definitions.json_schema({"enum": ["x" * 140_000]}, strict=True))


def test_a_token_that_the_grammar_forbids_fails_that_row_alone_and_never_opens_it(grammars: Grammars) -> None:
    broken, sound = (row_of(grammars.compile(definitions.regex("abc"))) for _ in range(2))
    broken.accept(TOKENIZER.convert_tokens_to_ids("x"))
    fault, text = write([broken, sound])
    assert isinstance(fault, Fault)
    assert "grammar" in fault.reason
    assert text == "abc"


def test_a_mask_that_raises_fails_that_row_alone(grammars: Grammars, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def consume_token(self, token: int) -> bool:
            raise BaseException(f"panic at {token}")

    broken, sound = (row_of(grammars.compile(definitions.regex("a[bc]{5}"))) for _ in range(2))
    assert broken.constraint is not None
    assert broken.constraint.forbidden.any()
    monkeypatch.setattr(broken.constraint, "_matcher", Broken())
    broken.accept(TOKENIZER.convert_tokens_to_ids("a"))
    fault, text = write([broken, sound])
    assert isinstance(fault, Fault)
    assert isinstance(text, str)
    assert re.fullmatch("a[bc]{5}", text)


def test_a_row_is_ready_when_its_mask_is(grammars: Grammars, monkeypatch: pytest.MonkeyPatch) -> None:
    row = row_of(grammars.compile(definitions.regex("ab")))
    assert row.constraint is not None
    assert row.constraint.forbidden.any()
    assert row.ready
    go_on, consume = threading.Event(), row.constraint._matcher.consume_token

    class Slow:
        def __getattr__(self, name: str) -> Any:
            go_on.wait()
            return consume if name == "consume_token" else getattr(matcher, name)

    matcher = row.constraint._matcher
    monkeypatch.setattr(row.constraint, "_matcher", Slow())
    row.accept(TOKENIZER.convert_tokens_to_ids("a"))
    ready_too_early = row.ready
    go_on.set()  # before anything can fail, or the thread would wait for ever
    assert not ready_too_early
    [chosen] = sample(torch.zeros(1, VOCABULARY), [row])
    assert isinstance(chosen, Chosen)
    assert TOKENIZER.decode([chosen.token]) == "b"
    assert row.ready


def test_one_compile_at_a_time_for_each_account(grammars: Grammars, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one of an account's takes long, its next is refused, and another account's goes on."""
    started, go_on, compile_now = threading.Event(), threading.Event(), grammars._compile

    def slow(definition: str) -> Any:
        if definition == definitions.regex("slow"):
            started.set()
            go_on.wait()
        return compile_now(definition)

    monkeypatch.setattr(grammars, "_compile", slow)
    monkeypatch.setattr("inference.engine.grammar.COMPILE_S", 0.2)
    refusals: list[GrammarError] = []

    def compile_slowly() -> None:
        try:
            grammars.compile(definitions.regex("slow"), account="a")
        except GrammarError as refusal:
            refusals.append(refusal)

    thread = threading.Thread(target=compile_slowly)
    thread.start()
    assert started.wait(10)
    thread.join()
    assert "to compile" in str(refusals[0])
    try:
        with pytest.raises(GrammarError, match="still being compiled"):
            grammars.compile(definitions.regex("next"), account="a")
        assert grammars.compile(definitions.regex("other"), account="b").forbidden.any()
    finally:
        go_on.set()
    monkeypatch.setattr("inference.engine.grammar.COMPILE_S", 10.0)
    assert grammars.compile(definitions.regex("next"), account="a").forbidden.any()
