"""What each family writes is told apart: reasoning, text and calls; what only looks like a call stays text."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from inference.engine.answers.markup import Arguments, Begun, Kept, Said
from inference.engine.families import Family
from tests.engine.answers.markup.parsing import (
    GEMMA,
    HERMES,
    HERMES_TOKENS,
    IDS,
    LLAMA,
    MISTRAL,
    XML,
    parsed,
    told,
    written,
)

KEPT = Kept(("f",))
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": [1, 2], "é": "🙂 </tool_call>"}}\n</tool_call>'
ARGUMENTS = {"x": [1, 2], "é": "🙂 </tool_call>"}
XML_CALL = "<tool_call>\n<function=f>\n<parameter=x>\n1\n</parameter>\n</function>\n</tool_call>"


def test_it_works() -> None:
    answer = f"<think>\nhm\n</think>\n\nLook:\n{CALL}\n"
    assert told(parsed(HERMES, answer)) == [{"reasoning": "hm"}, "Look:", ("f", ARGUMENTS)]


@pytest.mark.parametrize(
    ("family", "answer", "calls"),
    [
        (HERMES, '<tool_call>{"name":"f"}</tool_call>', [("f", {})]),
        (HERMES, '<tool_call>\n{"arguments": {"x": 1}, "name": "f", "id": [{}]}\n</tool_call>', [("f", {"x": 1})]),
        (HERMES, '<tool_call>{"name": "f", "arguments": null}</tool_call>', [("f", {})]),
        (HERMES, '<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}</tool_call>', [("f", {"x": 1})]),
        (HERMES, '<tool_call>{"name": "f", "arguments": {"s": "a\nb\t"}}</tool_call>', [("f", {"s": "a\nb\t"})]),
        (HERMES, XML_CALL, [("f", {"x": 1})]),
        (XML, XML_CALL, [("f", {"x": 1})]),
        (XML, "<tool_call>\n<function=f>\n</function>\n</tool_call>", [("f", {})]),
        (XML, CALL, [("f", ARGUMENTS)]),
        (LLAMA, '{"name": "f", "parameters": {"x": 1}}', [("f", {"x": 1})]),
        (LLAMA, '<|python_tag|>{"name": "f", "parameters": {}}', [("f", {})]),
        (LLAMA, '\n{"type": "function", "name": "f", "parameters": {}}\n', [("f", {})]),
        (LLAMA, '{"name": "f", "parameters": {}}; {"name": "g", "parameters": {}}', [("f", {}), ("g", {})]),
        (MISTRAL, '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "g"}]', [("f", {}), ("g", {})]),
        (MISTRAL, '[TOOL_CALLS] [{"name": "f", "arguments": {"x": 1}, "id": "9"}]', [("f", {"x": 1})]),
        (MISTRAL, '[TOOL_CALLS]f[ARGS]{"x": "[ARGS]"}', [("f", {"x": "[ARGS]"})]),
        (MISTRAL, '[TOOL_CALLS]f[CALL_ID]abc[ARGS]{}[TOOL_CALLS]g[ARGS]{}', [("f", {}), ("g", {})]),
        (GEMMA, '<|tool_call>call:f{x:1,s:<|"|>{"a":"<tool_call|>"}<|"|>}<tool_call|>', [
            ("f", {"x": 1, "s": '{"a":"<tool_call|>"}'}),
        ]),
        (GEMMA, '<|tool_call>call:f{o:{k:[true,<|"|>z<|"|>,-1.5]},w:plain}<tool_call|>', [
            ("f", {"o": {"k": [True, "z", -1.5]}, "w": "plain"}),
        ]),
        (GEMMA, '<|tool_call>{"name": "f", "arguments": {"x": 1}}<tool_call|>', [("f", {"x": 1})]),
    ],
)  # fmt: skip
def test_every_form_of_a_call(family: Family, answer: str, calls: list[Any]) -> None:
    assert told(parsed(family, answer)) == calls


@pytest.mark.parametrize(
    ("family", "answer"),
    [
        (HERMES, "Write <tool_call> to call, and </tool_call> after it. "),
        (HERMES, '<tool_call>{"name": "f", "arguments": {"x": 1}'),
        (HERMES, '<tool_call>{"name": "f", "arguments": {"x": 1}}'),
        (HERMES, '<tool_call>{"name": "f", "arguments": {"x": 1}} and </tool_call>'),
        (HERMES, '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f", "arguments": {"x": 01}}</tool_call>'),
        (HERMES, '<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>'),
        (HERMES, '<tool_call>{"name": 5}</tool_call>'),
        (HERMES, '<tool_call>{"x": 5}</tool_call>'),
        (HERMES, "<tool_call>[]</tool_call>"),
        (HERMES, "<tool_call>[1]</tool_call>"),
        (HERMES, "<tool_call></tool_call>\n"),
        (HERMES, "<tool_call>\n\n"),
        (HERMES, " \n<tool_c"),
        (HERMES, '<tool_call>{"name": "f", "arguments": {"x": ' + "[" * 5000),
        (XML, "<tool_call>\n<function=f>\n<parameter=x>\n1\n</tool_call>"),
        (XML, "<tool_call>\n<function=f>\n<parameter=x>\n1\n</parameter>\nand\n</function>\n</tool_call>"),
        (XML, "<tool_call>\n<function=>\n</function>\n</tool_call>"),
        (LLAMA, '{"name": "f"}'),
        (LLAMA, '{"name": "f", "parameters": {}} and more'),
        (LLAMA, '{"city": "Paris", "name": "f", "parameters": {}}'),
        (LLAMA, 'A call: {"name": "f", "parameters": {}}'),
        (LLAMA, "<|python_tag|>print(1)"),
        (MISTRAL, "[TOOL_CALLS]"),
        (MISTRAL, "[TOOL_CALLS]f\ng[ARGS]{}"),
        (MISTRAL, "[TOOL_CALLS]f[ARGS][1]"),
        (MISTRAL, '[TOOL_CALLS][{"name": "f"}, 5]'),
        (GEMMA, '<|tool_call>call:f{x:<|"|>1}<tool_call|>'),
        (GEMMA, "<|tool_call>call:f{x:1<tool_call|>"),
        (GEMMA, "<|tool_call>f{x:1}<tool_call|>"),
    ],
)  # fmt: skip
def test_what_is_no_call_is_text_unchanged(family: Family, answer: str) -> None:
    assert told(parsed(family, answer)) == [answer]
    assert told(parsed(family, list(answer))) == [answer]


def test_prose_about_a_call_does_not_wait_for_one() -> None:
    """A literal marker must not silence the stream."""
    pieces = parsed(HERMES, ["Write <tool_call> t", "o"])
    assert pieces == [Said("text", "Write <tool_call> to", 0)]


def test_a_call_within_what_is_none_is_found() -> None:
    unfinished = '<tool_call>\n{"name": "f", "arguments": {"s": "abc</tool_call>\n'
    assert told(parsed(HERMES, unfinished + CALL)) == [unfinished.rstrip(), ("f", ARGUMENTS)]


def test_where_a_marker_is_a_token_its_spelling_is_text() -> None:
    begin, end = IDS["<tool_call>"], IDS["</tool_call>"]
    spelled = '<tool_call>{"name": "f"}</tool_call>'
    assert told(parsed(HERMES_TOKENS, [spelled])) == [spelled]
    assert told(parsed(HERMES_TOKENS, [spelled, begin, '{"name": "f"}', end])) == [spelled, ("f", {})]
    assert told(parsed(HERMES_TOKENS, ["<think>", "a", IDS["</think>"]])) == ["<think>a</think>"]


def test_without_tools_markup_is_text_and_reasoning_is_not() -> None:
    assert told(parsed(HERMES, f"<think>a</think>{CALL}", calls=False)) == [{"reasoning": "a"}, CALL]


@pytest.mark.parametrize(
    ("answer", "thinking", "expected"),
    [
        ("\n<think>\na\n\nb\n</think>\n\nc", False, [{"reasoning": "a\n\nb"}, "c"]),
        ("a\n</think>\n\n  c\n", True, [{"reasoning": "a"}, "  c\n"]),
        ("<think>a</think>c", True, [{"reasoning": "a"}, "c"]),
        ("<think>\n\n</think>\n\nc", False, ["c"]),
        ("a <think>b</think>", False, ["a <think>b</think>"]),
        ("<think>a</think>b<think>c</think>", False, [{"reasoning": "a"}, "b<think>c</think>"]),
        ("<think>a <think>b</think>", False, [{"reasoning": "a <think>b"}]),
        (f"<think>{CALL}</think>", False, [{"reasoning": CALL}]),
        ("<think>a ", False, [{"reasoning": "a "}]),
        (" \n", False, [" \n"]),
        ("</think>", False, ["</think>"]),
    ],
)
def test_reasoning(answer: str, thinking: bool, expected: list[Any]) -> None:
    for family in (HERMES, HERMES_TOKENS):
        assert told(parsed(family, answer, thinking=thinking)) == expected


def test_reasoning_without_its_label() -> None:
    assert told(parsed(GEMMA, "<|channel>thought\na\n<channel|>b")) == [{"reasoning": "a"}, "b"]
    assert told(parsed(GEMMA, list("<|channel>thoughts\na<channel|>b"))) == [{"reasoning": "thoughts\na"}, "b"]


def test_a_name_that_nobody_declared_is_passed_on() -> None:
    assert told(parsed(HERMES, '<tool_call>{"name": "nobody\'s"}</tool_call>', parameters={"f": {}})) == [
        ("nobody's", {})
    ]


def test_numbers_and_escapes_are_as_they_were_written() -> None:
    arguments = '{"n": 1.50e+300, "big": 123456789012345678901234567890, "s": "\\u00e9\\/\\ud83d\\ude42 \\ud83d"}'
    pieces = parsed(HERMES, f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>')
    assert pieces[1] == Arguments(
        '{"n":1.50e+300,"big":123456789012345678901234567890,"s":"\\u00e9\\/\\ud83d\\ude42 \\ufffd"}'
    )


def test_without_parallel_the_first_call_is_the_end() -> None:
    assert told(parsed(HERMES, f"a{CALL}\n{CALL}b", parallel=False)) == ["a", ("f", ARGUMENTS)]
    lists = '[TOOL_CALLS][{"name": "f"}, {"name": "g"}]'
    assert told(parsed(MISTRAL, lists, parallel=False)) == [("f", {})]


@pytest.mark.parametrize(
    ("family", "answer"),
    [
        (HERMES, '<tool_call>\n{"name": "f", "arguments": {"x": [1, 2'),
        (LLAMA, '{"name": "f", "parameters": {"x": [1, 2'),
        (MISTRAL, '[TOOL_CALLS] [{"name": "f", "arguments": {"x": [1, 2'),
        (MISTRAL, '[TOOL_CALLS]f[ARGS]{"x": [1, 2'),
        (GEMMA, '<|tool_call>{"name": "f", "arguments": {"x": [1, 2'),
    ],
)
def test_a_call_that_streams_comes_as_it_is_written_and_stays_one_when_it_is_cut(family: Family, answer: str) -> None:
    cut = len(answer) - 5
    assert parsed(family, answer, kept=KEPT) == [Begun("f"), Arguments('{"x":[1,2')]
    assert parsed(family, [answer[:cut], answer[cut:]], kept=KEPT) == [Begun("f"), Arguments('{"x":[1,2')]


@pytest.mark.parametrize(
    ("family", "answer"),
    [
        (HERMES, "<to"),
        (HERMES, "\n<tool_call>"),
        (HERMES, '<tool_call>\n{"na'),
        (HERMES, '<tool_call>\n{"name": "odd \\'),
        (HERMES_TOKENS, '<tool_call>\n{"name": '),
        (XML, '<tool_call>\n{"name": "o'),
        (LLAMA, '{"name": "odd'),
        (LLAMA, '{"name": "odd \\"f\\"", "para'),
        (MISTRAL, '[TOOL_CALLS] [{"name": "'),
        (MISTRAL, '[TOOL_CALLS]odd "'),
        (GEMMA, "<|tool_call>"),
    ],
)
def test_a_call_that_had_to_be_made_and_was_cut_before_its_name_is_one_if_it_can_have_no_other(
    family: Family, answer: str
) -> None:
    assert parsed(family, answer, kept=Kept(('odd "f"',), required=True)) == [Begun('odd "f"')]
    assert parsed(family, answer, kept=Kept(("odd 1", "odd 2"), required=True)) == []


def test_one_name_of_several_is_told_as_soon_as_it_can_be_no_other() -> None:
    kept = Kept(("move", "more", "rest"), required=True)
    assert parsed(HERMES, '<tool_call>\n{"name": "r', kept=kept) == [Begun("rest")]
    assert parsed(HERMES, '<tool_call>\n{"name": "mo', kept=kept) == []
    assert parsed(HERMES, '<tool_call>\n{"name": "mov', kept=kept) == [Begun("move")]


def test_a_further_call_that_is_cut_leaves_no_markup() -> None:
    kept = Kept(("f",), required=True)
    assert told(parsed(HERMES, f"{CALL}\n<tool_call>\n{{", kept=kept)) == [("f", ARGUMENTS), ("f", None)]
    assert told(parsed(HERMES, f"{CALL}\n<to", kept=kept)) == [("f", ARGUMENTS), ("f", None)]


def test_what_need_not_be_a_call_is_text_where_it_is_cut() -> None:
    assert told(parsed(LLAMA, '{"name": "f', kept=KEPT)) == ['{"name": "f']
    assert told(parsed(HERMES, "Look: <to", kept=KEPT)) == ["Look: <to"]
    assert told(parsed(HERMES, "<think>hm <to", kept=Kept(("f",), required=True))) == [{"reasoning": "hm <to"}]


@pytest.mark.parametrize(
    ("family", "unit"),
    [
        (HERMES, "<tool_call>"),
        (HERMES, '<tool_call>{"a": "\\"'),
        (HERMES, "\n"),
        (HERMES, '<tool_call>{"name": "f"}</tool_call>'),
        (XML, "<tool_call><function=f><parameter=x></function></tool_call>"),
        (XML, "<tool_call><function=f><parameter=x></parameter>   "),
        (LLAMA, '{"name": "f", "parameters": {}};'),
        (LLAMA, "{"),
        (MISTRAL, "[TOOL_CALLS]f[ARGS]{}"),
        (GEMMA, '<|tool_call>call:f{"\\'),
        (GEMMA, '<|tool_call>call:f{x:<|"|>'),
    ],
)
def test_work_grows_as_the_length_does(family: Family, unit: str) -> None:
    """Eight times as long takes eight times as many calls of functions, ours and the library's, not sixty-four."""

    def steps(chars: int) -> int:
        text = unit * (chars // len(unit))
        counted = 0

        def count(_frame: object, event: str, _argument: object) -> None:
            nonlocal counted
            counted += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            parsed(family, [text[at : at + 4] for at in range(0, len(text), 4)])
        finally:
            sys.setprofile(None)
        return counted

    assert steps(16_000) < 10 * steps(2_000)


def test_a_marker_of_tokens_is_written_as_such() -> None:
    assert written(HERMES_TOKENS, "a<think>b") == ["a", IDS["<think>"], "b"]
