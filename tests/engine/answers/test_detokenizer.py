"""Text comes out in whole characters and is the same as decoding everything at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from inference.engine.answers.detokenizer import Detokenizer
from tests.models import tiny_tokenizer

TOKENIZER = tiny_tokenizer().backend_tokenizer
TEXT = st.text(st.one_of(st.sampled_from("the river 😀👩‍👩‍👧漢字éñ\n"), st.characters(exclude_categories=["Cs"])))


def pieces(ids: list[int], prompt_ids: list[int], tokenizer: Tokenizer = TOKENIZER) -> list[str]:
    detokenizer = Detokenizer(tokenizer, prompt_ids)
    return [*(detokenizer.push(token) for token in ids), detokenizer.flush()]


# At the very end it looks like a character that was cut short, which is left out.
@given(TEXT.filter(lambda text: not text.endswith("\ufffd")), st.text(max_size=20))
def test_streamed_text_is_the_text(text: str, prompt: str) -> None:
    assert "".join(pieces(TOKENIZER.encode(text).ids, TOKENIZER.encode(prompt).ids)) == text


@given(TEXT.filter(lambda text: "\ufffd" not in text))
def test_no_piece_holds_a_part_of_a_character(text: str) -> None:
    assert not any("\ufffd" in piece for piece in pieces(TOKENIZER.encode(text).ids, []))


def test_an_emoji_over_four_tokens_comes_with_the_last_of_them() -> None:
    ids = TOKENIZER.encode("😀").ids
    assert len(ids) == 4
    assert pieces(ids, []) == ["", "", "", "😀", ""]


def test_a_character_that_was_cut_short_is_left_out() -> None:
    assert "".join(pieces(TOKENIZER.encode("yes 😀").ids[:-1], [])) == "yes "


def test_special_tokens_are_not_text() -> None:
    end = TOKENIZER.token_to_id("<|im_end|>")
    assert "".join(pieces([*TOKENIZER.encode("yes").ids, end], [])) == "yes"


def test_bytes_that_are_no_text_do_not_hold_back_what_follows() -> None:
    lone = next(token for token in range(TOKENIZER.get_vocab_size()) if TOKENIZER.decode([token]) == "\ufffd")
    streamed = pieces([lone] * 20 + TOKENIZER.encode("the").ids, [])
    assert "\ufffd" in "".join(streamed[:20])
    assert "".join(streamed).endswith("the")


@pytest.fixture(scope="module")
def sentencepiece() -> Tokenizer:
    """Words carry their space in front, as in Llama 2, and the decoder strips the first one of a text."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "▁Hello": 1, "▁world": 2, "<0xC3>": 3, "<0xA9>": 4}, "<unk>"))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def test_the_first_word_after_a_prompt_keeps_its_space(sentencepiece: Tokenizer) -> None:
    assert pieces([2, 2], [1], sentencepiece) == [" world", " world", ""]


def test_byte_fallback_tokens_join_into_their_character(sentencepiece: Tokenizer) -> None:
    assert pieces([3, 4, 2], [1], sentencepiece) == ["", "é", " world", ""]
