"""Answers keep to their grammar, and a grammar that cannot be kept fails whoever sent it and nobody else."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from inference.engine.families import family_of
from inference.engine.grammars import grammar, tool_grammars
from inference.engine.grammars.grammar import Constraint, GrammarBusyError, GrammarError, Grammars
from inference.engine.grammars.grammar_definitions import definition
from inference.engine.sampling.sampler import Chosen, Fault, SamplerRow, sample
from inference.engine.sampling.vocabulary import Vocabulary
from inference.grammars import JsonObject, JsonSchema, Lark, Regex
from inference.requests import Sampling, Tool, ToolUse
from tests.models import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
VOCABULARY = 384
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")
#: Closing tokens are likelier, as in a model that means to come to an end.
CLOSING = {**{TOKENIZER.convert_tokens_to_ids(text): 6.0 for text in '"]}'}, END: 6.0}


@pytest.fixture(scope="module")
def grammars() -> Iterator[Grammars]:
    grammars = Grammars(Vocabulary(TOKENIZER.backend_tokenizer, width=VOCABULARY, end_token_ids=[END]))
    yield grammars
    grammars.close()


def row_of(constraint: Constraint, *, seed: int = 0) -> SamplerRow:
    return SamplerRow(Sampling(seed=seed, logit_bias=CLOSING), [], vocabulary=VOCABULARY, constraint=constraint)


def schema_of(schema: Any, *, strict: bool) -> str:
    return definition(JsonSchema(json.dumps(schema), strict))


def regex(pattern: str) -> str:
    return definition(Regex(pattern))


def lark(text: str) -> str:
    return definition(Lark(text))


def calls(parameters: dict[str, str]) -> str:
    """One call of one of the tools, as Hermes writes it."""
    tools = [Tool(name, parameters=schema, strict=True) for name, schema in parameters.items()]
    return tool_grammars.definition(ToolUse(tools=tools, choice="required", parallel=False), family_of("", {}).calls)


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
    person = grammars.compile(schema_of(PERSON, strict=True))
    number = grammars.compile(schema_of({"type": "integer", "minimum": 7, "maximum": 12}, strict=True))
    rows = [row_of(source.fork(), seed=seed) for seed in range(10) for source in (person, number)]
    texts = write(rows)
    for text in texts[::2]:
        assert isinstance(text, str)
        assert_person(json.loads(text))
    assert {json.loads(text) for text in texts[1::2] if isinstance(text, str)} <= set(range(7, 13))
    assert len(set(texts[::2])) > 1


def test_any_object_is_an_object(grammars: Grammars) -> None:
    constraint = grammars.compile(definition(JsonObject()))
    for text in write([row_of(constraint.fork(), seed=seed) for seed in range(5)]):
        assert isinstance(text, str)
        assert isinstance(json.loads(text), dict)


def test_regex_and_lark(grammars: Grammars) -> None:
    pattern = r"[a-c]{2,5}-\d{3}"
    date, [colour] = grammars.compile(regex(pattern)), ['start: "red" | "green" | "blue"']
    texts = write([row_of(date), row_of(grammars.compile(lark(colour)))])
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
    constraint = grammars.compile(calls({name: json.dumps(tool) for name, tool in tools.items()}))
    names = set()
    for text in write([row_of(constraint.fork(), seed=seed) for seed in range(12)]):
        assert isinstance(text, str)
        assert text.startswith("<tool_call>\n")
        assert text.endswith("\n</tool_call>")
        call = json.loads(text[len("<tool_call>") : -len("</tool_call>")])
        names.add(call["name"])
        if call["name"] == "person":
            assert_person(call["arguments"])
        else:
            assert call["arguments"] in ({"n": 1}, {"n": 2})
    assert names == set(tools)


def test_of_more_tools_than_a_grammar_holds_only_the_strict_ones_keep_to_their_schemas(grammars: Grammars) -> None:
    """Agents send hundreds: those that nobody was strict about take any object."""
    long = json.dumps({"type": "object", "properties": {"x": {"type": "integer", "description": "long " * 200}}})
    tools = [Tool(f"tool_{number}", parameters=long) for number in range(300)]
    tools.append(Tool("person", parameters=json.dumps(PERSON), strict=True))
    text = tool_grammars.definition(ToolUse(tools=tools, choice="required", parallel=False), family_of("", {}).calls)
    constraint = grammars.compile(text)
    assert len(text) < len(long) * 100
    for written in write([row_of(constraint.fork(), seed=seed) for seed in range(8)], most_tokens=3000):
        assert isinstance(written, str)
        call = json.loads(written.removeprefix("<tool_call>").removesuffix("</tool_call>"))
        if call["name"] == "person":
            assert_person(call["arguments"])
        assert isinstance(call["arguments"], dict)


def test_rows_without_a_grammar_are_not_touched_by_their_neighbours(grammars: Grammars) -> None:
    logits = torch.randn(2, VOCABULARY, generator=torch.Generator().manual_seed(1))
    plain = SamplerRow(Sampling(seed=3), [], vocabulary=VOCABULARY)
    constrained = row_of(grammars.compile(regex("x")))
    assert sample(logits, [constrained, plain])[1] == sample(logits[1:], [plain])[0]


def test_keywords_that_cannot_be_enforced_are_named_when_strict_and_left_out_otherwise(grammars: Grammars) -> None:
    schema = {"type": "integer", "minimum": 1, "maximum": 3, "not": {"const": 2}}
    with pytest.raises(GrammarError, match="not"):
        grammars.compile(schema_of(schema, strict=True))
    [text] = write([row_of(grammars.compile(schema_of(schema, strict=False)))])
    assert text in {"1", "2", "3"}


#: That of zod for a mail address, and what else JavaScript's regular expressions have and a grammar has not.
BEYOND_GRAMMARS = [r"^(?!\.)(?!.*\.\.)[a-z]+@[a-z]+$", r"(?<=a)b", r"(a|b)\1", r"\bword\b", r"^\cJ$"]


@pytest.mark.parametrize("pattern", BEYOND_GRAMMARS)
def test_a_pattern_beyond_grammars_is_named_when_strict_and_left_out_otherwise(
    grammars: Grammars, pattern: str
) -> None:
    schema = {"type": "object", "properties": {"pattern": {"type": "string", "pattern": pattern, "maxLength": 3}}}
    schema |= {"required": ["pattern"], "additionalProperties": False}
    with pytest.raises(GrammarError, match="`pattern`"):
        grammars.compile(schema_of(schema, strict=True))
    [text] = write([row_of(grammars.compile(schema_of(schema, strict=False)))])
    assert len(json.loads(text)["pattern"]) <= 3, "all but the pattern is kept to"


def test_names_with_a_pattern_beyond_grammars_are_any_where_nobody_was_strict(grammars: Grammars) -> None:
    schema = {"type": "object", "patternProperties": {"^(?=x)": {}}, "additionalProperties": False, "minProperties": 1}
    with pytest.raises(GrammarError, match="patternProperties"):
        grammars.compile(schema_of(schema, strict=True))
    [text] = write([row_of(grammars.compile(schema_of(schema, strict=False)))])
    assert json.loads(text)


def test_a_pattern_that_is_data_or_only_looks_odd_stays(grammars: Grammars) -> None:
    schema = {"const": {"pattern": "(?=a)"}}
    [text] = write([row_of(grammars.compile(schema_of(schema, strict=True)))])
    assert json.loads(text) == schema["const"]
    [text] = write([row_of(grammars.compile(schema_of({"pattern": r"^\\b[(?=]{2}$", "type": "string"}, strict=True)))])
    assert re.fullmatch(r"\\b[(?=]{2}", json.loads(text))


def test_a_pattern_that_is_none_is_refused_with_what_is_wrong_with_it(grammars: Grammars) -> None:
    with pytest.raises(GrammarError, match="unclosed group"):
        grammars.compile(schema_of({"type": "string", "pattern": "("}, strict=False))


@pytest.mark.parametrize(
    "definition",
    [
        lambda: schema_of({"type": "objekt"}, strict=True),
        lambda: schema_of({"$ref": "#/$defs/none"}, strict=True),
        lambda: schema_of({"$ref": "https://example.com/schema"}, strict=True),
        lambda: schema_of({"type": "string", "pattern": "("}, strict=True),
        lambda: regex("(?=a)b"),
        lambda: lark("start: nothing"),
        lambda: lark("start: start"),
        lambda: lark('start: "a"' + ' | "a"' * 4000),
        lambda: schema_of({"$ref": "#"}, strict=True),
        lambda: lark("start: " + "(" * 9000 + '"a"' + ")" * 9000),
        lambda: definition(JsonSchema(nested(3000), strict=True)),
        lambda: definition(JsonSchema("true")),
        lambda: definition(JsonSchema("{")),
        lambda: definition(JsonSchema('{"const": "\\ud800"}')),
        lambda: calls({"name": "[]"}),
        lambda: calls({"name": nested(3000)}),
        lambda: calls({"name": '{"type": "string"}'}),
        lambda: calls({}),
        lambda: schema_of({"type": "integer", "multipleOf": 999_983}, strict=False),
        lambda: schema_of({"anyOf": [{"multipleOf": 0.00997}, {"multipleOf": 991}]}, strict=False),
        lambda: lark('start: %json {"multipleOf": 999983}'),
        lambda: regex("\ud800"),
        lambda: lark("start: \ud800"),
    ],
)
def test_a_grammar_that_is_none_is_refused(grammars: Grammars, definition: Any) -> None:
    with pytest.raises(GrammarError):
        grammars.compile(definition())


def test_steps_that_are_usual_are_taken(grammars: Grammars) -> None:
    for step in (0.01, 5, 1000, 86_400, 65_536, 0.125):
        grammars.compile(schema_of({"type": "number", "multipleOf": step}, strict=True))
    sevens = {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 99}
    [text] = write([row_of(grammars.compile(schema_of(sevens, strict=True)))])
    assert isinstance(text, str)
    assert int(text) % 7 == 0


def nested(depth: int) -> str:
    return '{"type": "array", "items": ' * depth + '{"type": "integer"}' + "}" * depth


def test_a_long_chain_of_references_does_not_end_the_process(grammars: Grammars) -> None:
    """On a stack of the usual size it would, and there would be no process to report it."""
    links = {f"r{n}": {"type": "array", "items": {"$ref": f"#/$defs/r{n + 1}"}} for n in range(1900)}
    schema = {"$ref": "#/$defs/r0", "$defs": {**links, "r1900": {"type": "integer"}}}
    constraint = grammars.compile(schema_of(schema, strict=True))
    assert constraint.forbidden.any()
    assert constraint.error == ""


def test_a_definition_that_is_too_long_is_refused(grammars: Grammars) -> None:
    with pytest.raises(GrammarError, match="128 KiB"):
        grammars.compile(schema_of({"enum": ["x" * 140_000]}, strict=True))


def test_a_token_that_the_grammar_forbids_fails_that_row_alone_and_never_opens_it(grammars: Grammars) -> None:
    broken, sound = (row_of(grammars.compile(regex("abc"))) for _ in range(2))
    broken.accept(TOKENIZER.convert_tokens_to_ids("x"))
    fault, text = write([broken, sound])
    assert isinstance(fault, Fault)
    assert "grammar" in fault.reason
    assert text == "abc"


def test_a_mask_that_raises_fails_that_row_alone(grammars: Grammars, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def consume_token(self, token: int) -> bool:
            raise BaseException(f"panic at {token}")

    broken, sound = (row_of(grammars.compile(regex("a[bc]{5}"))) for _ in range(2))
    assert broken.constraint is not None
    assert broken.constraint.forbidden.any()
    monkeypatch.setattr(broken.constraint, "_matcher", Broken())
    broken.accept(TOKENIZER.convert_tokens_to_ids("a"))
    fault, text = write([broken, sound])
    assert isinstance(fault, Fault)
    assert isinstance(text, str)
    assert re.fullmatch("a[bc]{5}", text)


def test_a_row_is_ready_when_its_mask_is(grammars: Grammars, monkeypatch: pytest.MonkeyPatch) -> None:
    row = row_of(grammars.compile(regex("ab")))
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
    started, go_on, compile_now = threading.Event(), threading.Event(), grammar._compile

    def slow(tokens: Any, text: str, begun: threading.Event) -> Any:
        begun.set()
        if text == regex("slow"):
            started.set()
            go_on.wait()
        return compile_now(tokens, text, begun)

    monkeypatch.setattr(grammar, "_compile", slow)
    monkeypatch.setattr("inference.engine.grammars.grammar.COMPILE_S", 0.2)
    refusals: list[GrammarError] = []

    def compile_slowly() -> None:
        try:
            grammars.compile(regex("slow"), account="a")
        except GrammarError as refusal:
            refusals.append(refusal)

    thread = threading.Thread(target=compile_slowly)
    thread.start()
    assert started.wait(10)
    thread.join()
    assert "to compile" in str(refusals[0])
    try:
        with pytest.raises(GrammarBusyError, match="still being compiled"):
            grammars.compile(regex("next"), account="a")
        assert grammars.compile(regex("other"), account="b").forbidden.any()
    finally:
        go_on.set()
    monkeypatch.setattr("inference.engine.grammars.grammar.COMPILE_S", 10.0)
    assert grammars.compile(regex("next"), account="a").forbidden.any()


def test_a_vocabulary_of_words_spells_them_and_takes_no_grammar() -> None:
    words = Tokenizer(WordLevel({"hello": 0, "world": 1}, unk_token="hello"))
    vocabulary = Vocabulary(words, width=2, end_token_ids=[])
    assert vocabulary.unpredicted(1).spelling == b"world"
    with pytest.raises(GrammarError, match="takes no grammars"):
        Grammars(vocabulary).compile(regex("a+"))
