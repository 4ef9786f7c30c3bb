"""Tokens to text, one at a time, in whole characters."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

#: Tokens of the prompt that the first piece is decoded behind, so that the first word keeps its leading space.
_PROMPT_TAIL = 6
#: The most tokens of a character that is not finished: three bytes of four, one token each.
_UNFINISHED_TOKENS = 3
#: Tokens without text after which the older ones are bytes that are no text, and shown as such.
_LONGEST_HOLD = 8
_NO_CHARACTER = "\ufffd"


class Detokenizer:
    """Text of a growing sequence. A character spread over several tokens comes out with the last of them.

    Each piece is what its tokens add to the text of those before. `tokenizers.decoders.DecodeStream` does the same but
    holds invalid bytes back without end, raises where a decoder rewrites what it said, and cannot be flushed.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._held: list[int] = []
        self._remember(list(prompt_ids[-_PROMPT_TAIL:]))

    def push(self, token_id: int) -> str:
        """The text that is complete with this token, or nothing as long as a character is unfinished."""
        self._held.append(token_id)
        text = self._added_by(self._held)
        if not text.endswith(_NO_CHARACTER):
            return self._release(len(self._held), text)
        if len(self._held) < _LONGEST_HOLD:
            return ""
        return self._release(len(self._held) - _UNFINISHED_TOKENS)

    def interrupt(self, token_id: int) -> str:
        """The text that is left before a token that is no text of its own, and that ends any character."""
        text = self._added_by(self._held) if self._held else ""
        self._held = []
        self._remember([token_id])
        return text

    @property
    def held_tokens(self) -> int:
        """How many of the last tokens have no text yet, because their character is unfinished."""
        return len(self._held)

    def flush(self) -> str:
        """The rest at the end of a sequence. A character that was never finished is not text and is left out."""
        return self._added_by(self._held).rstrip(_NO_CHARACTER)

    def _release(self, tokens: int, text: str | None = None) -> str:
        released, self._held = self._held[:tokens], self._held[tokens:]
        if text is None:
            text = self._added_by(released)
        self._remember(released)
        return text

    def _remember(self, shown: list[int]) -> None:
        self._shown, self._shown_length = shown, len(self._decode(shown))

    def _added_by(self, ids: list[int]) -> str:
        return self._decode(self._shown + ids)[self._shown_length :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)
