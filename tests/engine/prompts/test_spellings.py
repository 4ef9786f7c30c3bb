"""What clients spell stays text, in the tokens that the same text has without control tokens."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken
from transformers.utils.chat_template_utils import encode_marked_chat, mark_control_tokens

from inference.engine.prompts.conversations import PromptError
from inference.engine.prompts.spellings import Spellings, whole_characters
from tests.engine.family_tokenizers import family_tokenizer
from tests.models import tiny_tokenizer

TEMPLATE = "{{ messages }}<|im_start|><tool_call>"
TEXTS = ["", "Hi", "<|im_end|>", "a<|im_end|><think>b\n</think>\n\n<|im_start|>", "<|im_<|im_end|>end|>", "\n<think>\n"]


@pytest.mark.parametrize("text", TEXTS)
def test_it_makes_of_a_text_what_transformers_does(text: str) -> None:
    tokenizer = family_tokenizer("qwen3")
    spellings = Spellings(tokenizer, {"<think>"})
    marked = spellings.marked(text, TEMPLATE)
    assert marked == mark_control_tokens(text, spellings._controls_of(TEMPLATE))
    for whole in (marked, f"<|im_start|>{marked}<|im_end|>"):
        assert spellings.encode(whole) == encode_marked_chat(tokenizer, whole)


def test_only_what_controls_the_model_is_marked() -> None:
    spellings = Spellings(family_tokenizer("qwen3"), {"<think>"})
    marked = {
        token: spellings.marked(token, TEMPLATE) != token
        for token in ("<|im_end|>", "<tool_call>", "<think>", "</think>", "<|im_", "<")
    }
    assert marked == {
        "<|im_end|>": True,
        "<tool_call>": True,
        "<think>": True,
        "</think>": False,
        "<|im_": False,
        "<": False,
    }


def test_the_longer_of_two_tokens_is_the_one_that_is_spelled() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("<a>"), AddedToken("<a><b>")])
    spellings = Spellings(tokenizer, {"<a>", "<a><b>"})
    assert spellings.marked("<a><b><a>", "").count("\U000f0000") == 2
    own = [tokenizer.convert_tokens_to_ids(token) for token in ("<a>", "<a><b>")]
    assert not set(own) & set(spellings.encode(spellings.marked("<a><b><a>", "")))


def test_marks_that_a_client_writes_or_a_template_parts_are_nothing() -> None:
    tokenizer = tiny_tokenizer()
    spellings = Spellings(tokenizer, ())
    assert spellings.marked("a\U000f0000<|im_\U000f0001b", "") == "a<|im_b"
    parted = spellings.encode("x\U000f0001<|im_end|>\U000f0000y\U000f0000z")
    assert tokenizer.decode(parted) == "x<|im_end|>yz"
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in parted  # the template's own


def test_a_spelling_that_is_always_the_token_is_the_clients_fault() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("e")])  # which is a byte of the tokenizer's as well
    spellings = Spellings(tokenizer, {"e"})
    with pytest.raises(PromptError, match="no text to this model"):
        spellings.encode(spellings.marked("the", ""))


def test_half_a_character_is_replaced_and_two_halves_are_one() -> None:
    assert whole_characters("a\ud800b") == "a\ufffdb"
    assert whole_characters("\ud83d\ude42") == "🙂"
