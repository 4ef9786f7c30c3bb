"""Log-probabilities as Completions gives them: four lists, with an entry for each token (WIRE_APIS 2)."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from inference.dialects.openai.logprobs import finite
from inference.events import TokenLogprob

#: Tokens before a text that are none of it: the one that begins every text, and what else a tokenizer may add.
_MOST_UNSEEN = 4


class Offsets:
    """Where the tokens of one choice begin in its text, in characters. A token may be no whole characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._characters = 0

    def of(self, tokens: Sequence[TokenLogprob], *, unseen: int = 0) -> list[int]:
        """The next ones. The first `unseen` characters they spell are not in the text: the token that begins it."""
        offsets = []
        for token in tokens:
            offsets.append(max(0, self._characters - unseen))
            self._characters += len(self._decoder.decode(token.spelling))
        self._characters = max(0, self._characters - unseen)
        return offsets


def unseen_characters(prompt: Sequence[TokenLogprob], text: str) -> int:
    """How many characters a prompt's tokens spell before they spell what the text begins with."""
    spelled = b"".join(token.spelling for token in prompt).decode(errors="replace")
    unseen = 0
    for token in prompt[:_MOST_UNSEEN]:
        if text.startswith(spelled[unseen:]):
            return unseen
        unseen += len(token.spelling.decode(errors="replace"))
    return unseen if text.startswith(spelled[unseen:]) else 0


def logprobs_of(tokens: Sequence[TokenLogprob], offsets: list[int]) -> dict[str, Any]:
    """The likeliest tokens with the chosen one among them. Nothing comes before the first token of a prompt."""
    return {
        "tokens": [_spelled(token) for token in tokens],
        "token_logprobs": [None if token.logprob is None else finite(token.logprob) for token in tokens],
        "top_logprobs": [_top(token) for token in tokens],
        "text_offset": offsets,
    }


def _top(token: TokenLogprob) -> dict[str, float] | None:
    if token.logprob is None:
        return None
    return {_spelled(one): finite(one.logprob or 0.0) for one in (*token.top, token)}


def _spelled(token: TokenLogprob) -> str:
    """Bytes that are no whole characters are told apart by being written out."""
    try:
        return token.spelling.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.spelling)
