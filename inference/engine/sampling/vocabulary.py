"""A model's tokens as bytes."""

from __future__ import annotations

import logging
from collections.abc import Collection

from llguidance import LLTokenizer
from tokenizers import Tokenizer

from inference.engine.sampling.logprobs import Logprob
from inference.events import TokenLogprob

logger = logging.getLogger(__name__)


class Vocabulary:
    """What each token spells, for grammars and for log-probabilities; callable from any thread.

    `width` is that of the model's logits. Made while the model loads, because no other Python runs meanwhile: 2.2 s for
    262,144 tokens. `end_token_ids` are those that end an answer that keeps to a grammar; the library picks one where
    the model has none. `tokens` is None for a tokenizer whose tokens are no bytes to the library: words, say.
    """

    def __init__(self, tokenizer: Tokenizer, *, width: int, end_token_ids: Collection[int]) -> None:
        self.width = width
        self.end_token_ids = frozenset(end_token_ids)
        self.tokens: LLTokenizer | None = None
        self._tokenizer = tokenizer
        try:
            self.tokens = LLTokenizer(_definition(tokenizer), n_vocab=width, eos_token=sorted(end_token_ids) or None)
        except ValueError as fault:
            logger.warning("this tokenizer takes no grammars: %s", fault)
        else:
            self.end_token_ids = frozenset(self.tokens.eos_tokens)

    def spelled(self, logprob: Logprob) -> TokenLogprob:
        """A log-probability as it leaves the engine."""
        top = [TokenLogprob(token, self._spelling(token), value) for token, value in logprob.top]
        return TokenLogprob(logprob.token, self._spelling(logprob.token), logprob.logprob, top)

    def unpredicted(self, token: int) -> TokenLogprob:
        """The first token of a prompt, which has no log-probability."""
        return TokenLogprob(token, self._spelling(token), None)

    def _spelling(self, token: int) -> bytes:
        if self.tokens is None:
            return self._tokenizer.decode([token], skip_special_tokens=False).encode()
        return bytes(self.tokens.decode_bytes([token]))


def _definition(tokenizer: Tokenizer) -> str:
    """The tokenizer as JSON, without what it may do to the length of its input."""
    if tokenizer.padding is None and tokenizer.truncation is None:
        return str(tokenizer.to_str())
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return str(copy.to_str())
