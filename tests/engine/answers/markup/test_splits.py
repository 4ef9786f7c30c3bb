"""However an answer is cut into tokens the same comes of it, and what comes of it is what was written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.engine.answers.markup import Arguments, Begun, Kept, Said
from inference.engine.families import CallForm, Family
from tests.engine.answers.markup.parsing import EXAMPLES, FAMILIES, HERMES, markers_of, parsed, told
from tests.engine.answers.markup.writing import (
    CALLS,
    PROSE,
    Segment,
    answer_of,
    call_of,
    cut,
    in_json,
    is_written,
    schema_of,
)

PLACES = st.lists(st.integers(0, 400), max_size=12)
FAMILY_NAMES = [f"{family.calls.form.value} {'token' if family.calls.begin.token else 'text'}" for family in FAMILIES]

SETTINGS = settings(max_examples=EXAMPLES)


@pytest.mark.parametrize("family", FAMILIES, ids=FAMILY_NAMES)
@given(data=st.data(), places=PLACES)
@SETTINGS
def test_what_was_written_is_told_however_it_was_cut(family: Family, data: st.DataObject, places: list[int]) -> None:
    segments = written_by(family, data.draw(st.lists(PROSE | CALLS, max_size=4)))
    reasoning = data.draw(st.none() | PROSE) if family.reasoning else None
    if reasoning is not None and not is_written(family, reasoning):
        reasoning = None
    parameters = {segment[0]: schema_of(segment[1]) for segment in segments if isinstance(segment, tuple)}
    answer = answer_of(family, segments, reasoning)
    expected: list[Any] = [{"reasoning": reasoning}] if reasoning else []
    for segment in segments:
        if isinstance(segment, str) and expected and isinstance(expected[-1], str):
            expected[-1] += f"\n{segment}"
        else:
            expected.append(segment)
    assert told(parsed(family, cut(family, answer, places), parameters=parameters)) == expected


def written_by(family: Family, segments: list[Segment]) -> list[Segment]:
    """Those that the family can write: each tool once, so that it has one schema."""
    written: list[Segment] = []
    names: set[str] = set()
    for segment in segments:
        if not is_written(family, segment) or (isinstance(segment, tuple) and segment[0] in names):
            continue
        if family.calls.form is CallForm.LLAMA and any(isinstance(each, tuple) for each in written):
            break  # its call has no end but that of the answer
        names.update(segment[:1] if isinstance(segment, tuple) else ())
        written.append(segment)
    return written


def junk(family: Family) -> st.SearchStrategy[str]:
    """Pieces of markup in any order, calls cut anywhere among them."""
    pieces = [marker.text for marker in markers_of(family)] + [
        "<function=f>", "<parameter=x>", "</parameter>", "</function>", '{"name": "f", "arguments": ', "{", "}", "[",
        "]", '"', "\\", ":", ",", " ", "\n", "1", "null", "call:f", "f", "🙂", "é", "\ufffd", "<", "tool_call>",
        "\\ud83d",
    ]  # fmt: skip
    calls = CALLS.map(lambda call: call_of(family, *call))
    part = st.tuples(calls, st.integers(0, 60)).map(lambda call: call[0][: call[1]])
    return st.lists(st.sampled_from(pieces) | calls | part | PROSE, max_size=12).map("".join)


@pytest.mark.parametrize("family", FAMILIES, ids=FAMILY_NAMES)
@pytest.mark.parametrize("options", [{}, {"thinking": True}, {"parallel": False}, {"calls": False}])
@given(data=st.data(), places=PLACES)
@SETTINGS
def test_any_split_of_anything_gives_the_same(
    family: Family, options: dict[str, Any], data: st.DataObject, places: list[int]
) -> None:
    answer = data.draw(junk(family))
    options = {**options, "thinking": bool(options.get("thinking") and family.reasoning)}
    whole = parsed(family, answer, **options)
    assert parsed(family, cut(family, answer, places), **options) == whole
    assert parsed(family, cut(family, answer, range(len(answer))), **options) == whole
    for piece in whole:
        if isinstance(piece, Said):
            assert answer[piece.start : piece.stop] == piece.text
    if all(isinstance(piece, Said) and piece.kind == "text" for piece in whole) and not options["thinking"]:
        said = "".join(piece.text for piece in whole if isinstance(piece, Said))
        assert said == answer or answer.lstrip().startswith(family.reasoning.begin.text if family.reasoning else "\0")


@pytest.mark.parametrize("family", FAMILIES, ids=FAMILY_NAMES)
@given(call=CALLS, places=PLACES, length=st.integers(1, 200))
@SETTINGS
def test_a_call_that_streams_is_what_was_written_up_to_any_point(
    family: Family, call: tuple[str, dict[str, Any]], places: list[int], length: int
) -> None:
    """Written in JSON, as by a grammar, and cut by length."""
    text = in_json(*call, "parameters" if family.calls.form is CallForm.LLAMA else "arguments")
    if family.calls.form is not CallForm.LLAMA:
        text = f"{family.calls.begin.text}{text}{family.calls.end.text if family.calls.end else ''}"
    kept = Kept((call[0], f"{call[0]}2"), required=True)
    whole = parsed(family, cut(family, text, places), kept=kept)
    assert told(whole) == [call]
    if family.calls.end and family.calls.end.token:  # which cannot be cut
        length = min(length, len(text) - len(family.calls.end.text))
    if family.calls.begin.token and family.calls.form is not CallForm.LLAMA:
        length = max(length, len(family.calls.begin.text))
    so_far = parsed(family, cut(family, text[:length], places), kept=kept)
    assert not any(isinstance(piece, Said) for piece in so_far)
    if so_far:
        assert so_far[0] == Begun(call[0])
        assert "".join(piece.text for piece in whole if isinstance(piece, Arguments)).startswith(
            "".join(piece.text for piece in so_far if isinstance(piece, Arguments))
        )


@given(st.text(max_size=200))
@settings(max_examples=EXAMPLES)
def test_plain_text_is_as_it_was(text: str) -> None:
    assert "".join(piece.text for piece in parsed(HERMES, list(text)) if isinstance(piece, Said)) == text
