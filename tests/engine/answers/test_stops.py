"""Stop strings end the text, never show, and match however the text was cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.engine.answers.stops import StopStrings

ALPHABET = "ab\n😀"
STOPS = st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=4)


def run(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    filtered = StopStrings(stops)
    visible = "".join(filtered.push(piece) for piece in pieces) + filtered.flush()
    return visible, filtered.hit


def test_text_before_the_stop_string_is_shown() -> None:
    assert run(["Hello wor", "ld", " END not this"], ["END"]) == ("Hello world ", True)


def test_a_beginning_of_a_stop_string_waits_and_is_shown_when_it_becomes_something_else() -> None:
    stops = StopStrings(["\n\nUser:"])
    assert stops.push("yes\n") == "yes"
    assert stops.push("\n") == ""
    assert stops.push("Us") == ""
    assert stops.push("eful") == "\n\nUseful"


def test_what_is_held_back_at_the_end_is_shown() -> None:
    assert run(["the E", "N"], ["END"]) == ("the EN", False)


def test_an_overlapping_beginning_is_not_lost() -> None:
    assert run(["aa", "ab"], ["aab"]) == ("a", True)


def test_without_stop_strings_everything_passes_at_once() -> None:
    assert StopStrings([]).push("abc") == "abc"


@given(st.lists(st.text(ALPHABET, max_size=5), max_size=12), STOPS)
def test_any_split_of_the_same_text_gives_the_same_answer(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    assert run(pieces, stops) == run([text], stops) == run(list(text), stops)


@given(st.lists(st.text(ALPHABET, max_size=5), max_size=12), STOPS)
def test_no_stop_string_is_ever_shown_and_nothing_else_is_lost(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    visible, hit = run(pieces, stops)
    assert hit == any(stop in text for stop in stops)
    assert not any(stop in visible for stop in stops)
    if hit:
        assert any(text.startswith(visible + stop) for stop in stops)
    else:
        assert visible == text
