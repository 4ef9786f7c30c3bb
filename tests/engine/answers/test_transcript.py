"""Log-probabilities leave with the text they belong to, though characters and stop strings are held back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.engine.answers.detokenizer import Detokenizer
from inference.engine.answers.stops import StopStrings
from inference.engine.answers.transcript import Shown, Transcript, Written
from inference.events import TokenLogprob
from tests.models import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
PROMPT = TOKENIZER.encode("Hello")


def shown_of(ids: list[int], stops: list[str]) -> list[Shown]:
    """What each token brought, and last the end."""
    transcript = Transcript(Detokenizer(TOKENIZER.backend_tokenizer, PROMPT), StopStrings(stops))
    shown = []
    for token in ids:
        shown.append(one_of(transcript.push(token, TokenLogprob(token, b"", -1.0))))
        if transcript.stopped:
            break
    return [*shown, one_of(transcript.finish())]


def one_of(written: list[Written]) -> Shown:
    """All that came at once, of an answer without markup."""
    shown = [each for each in written if isinstance(each, Shown)]
    return Shown("".join(each.text for each in shown), [logprob for each in shown for logprob in each.logprobs])


def tokens_of(shown: list[Shown]) -> list[int]:
    return [logprob.token for each in shown for logprob in each.logprobs]


def test_the_parts_of_a_character_come_with_it() -> None:
    ids = TOKENIZER.encode("a🙂b")
    shown = shown_of(ids, [])
    assert [each.text for each in shown] == ["a", "", "", "", "🙂", "b", ""]
    assert [len(each.logprobs) for each in shown] == [1, 0, 0, 0, 4, 1, 0]


def test_what_may_become_a_stop_string_is_held_back_with_its_tokens() -> None:
    shown = shown_of([*TOKENIZER.encode("x"), *TOKENIZER.encode("E"), *TOKENIZER.encode("F")], ["EN"])
    assert [(each.text, len(each.logprobs)) for each in shown] == [("x", 1), ("", 0), ("EF", 2), ("", 0)]


def test_tokens_of_a_stop_string_are_not_shown_but_the_one_that_it_cuts_is() -> None:
    the = TOKENIZER.encode(" the")
    assert len(the) == 1
    assert tokens_of(shown_of([*TOKENIZER.encode("x"), *the], [" the"])) == TOKENIZER.encode("x")
    assert tokens_of(shown_of([*TOKENIZER.encode("x"), *the], ["he"])) == [*TOKENIZER.encode("x"), *the]


def test_a_character_that_was_never_finished_leaves_its_tokens_without_text() -> None:
    shown = shown_of(TOKENIZER.encode("🙂")[:3], [])
    assert [(each.text, len(each.logprobs)) for each in shown] == [("", 0), ("", 0), ("", 0), ("", 3)]


@pytest.mark.parametrize("stops", [[], ["e"], ["he r", "🙂🙂"]])
@given(text=st.text(alphabet="a the river🙂é名", max_size=20))
@settings(max_examples=60)
def test_text_and_tokens_are_the_same_up_to_any_point(stops: list[str], text: str) -> None:
    ids = TOKENIZER.encode(text)
    shown = shown_of(ids, stops)
    told = tokens_of(shown)
    assert told == ids[: len(told)]
    whole = "".join(each.text for each in shown)
    assert TOKENIZER.decode(told).startswith(whole)
    for end in range(len(shown) - 1):  # before the last push, no token has left whose text has not
        so_far = "".join(each.text for each in shown[:end])
        assert so_far.startswith(TOKENIZER.decode(tokens_of(shown[:end])))
    if not any(stop in text for stop in stops):
        assert told == ids
