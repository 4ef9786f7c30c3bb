"""Tokens to text, one at a time, in whole characters."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

#: Tokens of the prompt that the stream starts from, so that the first word keeps its leading space.
_PROMPT_TAIL = 6
#: A character is at most four bytes, one token each in the worst case: longer silence means bytes that are no text.
_LONGEST_HOLD = 8
_UNFINISHED = "\ufffd"


class Detokenizer:
    """Text of a growing sequence. A character spread over several tokens comes out with the last of them."""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._start(list(prompt_ids[-_PROMPT_TAIL:]))

    def _start(self, shown: list[int]) -> None:
        self._shown, self._held = shown, list[int]()
        self._stream = DecodeStream(ids=shown, skip_special_tokens=True)

    def push(self, token_id: int) -> str:
        self._held.append(token_id)
        try:
            text: str | None = self._stream.step(self._tokenizer, token_id)
        except Exception:  # some decoders rewrite what they had said, which DecodeStream refuses as an invalid prefix
            return self._release()
        if text is None:
            return self._release() if len(self._held) >= _LONGEST_HOLD else ""
        self._shown, self._held = self._held, []
        return text

    def flush(self) -> str:
        """The rest at the end of a sequence. A character that was never finished is not text and is left out."""
        return self._release().rstrip(_UNFINISHED)

    def _release(self) -> str:
        """The text of what is held, decodable or not."""
        before = self._decode(self._shown)
        after = self._decode(self._shown + self._held)
        self._start(self._held)
        return after[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)
