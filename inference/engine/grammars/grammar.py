"""Answers that keep to a grammar: compiled and masked by llguidance, on threads that do not own the device.

A compile or a mask may take most of a second and cannot be interrupted, so no step waits for one: a row whose mask is
not ready sits the step out. The limits below bound what a hostile grammar costs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from inference.engine.sampling.vocabulary import Vocabulary

#: Seconds that a grammar has to compile; and that it waits, for its account's turn and then for a thread.
COMPILE_S = 2.0
#: Fuel goes at 14,000 to 50,000 units a millisecond; the rest is the library's own defaults, several times too large.
_LIMITS = LLParserLimits(
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_lexer_states=50_000,
    max_grammar_size=100_000,
    verbose_errors=False,
)
#: The library descends into a definition on the stack, and a stack that overflows ends the process: 60 KiB of rules
#: that each name the next one did so with the usual 8 MiB. The worst chains of this length need less than 64.
LONGEST_DEFINITION = 128 * 1024
_STACK_BYTES = 256 * 1024 * 1024
#: Threads of each kind for one model: a compile that takes long holds up no mask.
_THREADS = 2


class GrammarError(ValueError):
    """A grammar that is not taken, as a sentence for whoever sent it; `param` is its field where that is known."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class GrammarBusyError(Exception):
    """No turn to compile came up in time, as a sentence. The same request can be sent again."""


class Grammars:
    """Compiles grammars for the vocabulary of one model; callable from any thread but the device's.

    One compile at a time for each account, the anonymous ones (None) together, so that nobody keeps all the threads
    busy with schemas.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._compilers = _deep_threads("grammar-compile")
        self._maskers = _deep_threads("grammar-mask")
        self._turn = threading.Condition()
        self._compiling: set[str | None] = set()
        self._closed = False

    def compile(self, definition: str, *, account: str | None = None) -> Constraint:
        """A definition of `grammar_definitions`, ready for one sequence. Raises GrammarError and GrammarBusyError."""
        tokens = self._vocabulary.tokens
        if tokens is None:
            raise GrammarError("This model's tokenizer takes no grammars: its tokens are no pieces of text.")
        if len(definition) > LONGEST_DEFINITION:
            raise GrammarError(f"The grammar is longer than {LONGEST_DEFINITION // 1024} KiB: make it smaller.")
        self._take_turn(account)
        begun = threading.Event()
        compiled = self._compilers.submit(_compile, tokens, definition, begun)
        compiled.add_done_callback(lambda _: self._end_turn(account))
        if not begun.wait(COMPILE_S) and compiled.cancel():
            raise GrammarBusyError("Too many grammars are being compiled: send this request later.")
        try:
            matcher = compiled.result(COMPILE_S)
        except TimeoutError:
            raise GrammarError(f"The grammar takes more than {COMPILE_S:g} s to compile: make it smaller.") from None
        if self._closed:
            raise GrammarBusyError("The model is being unloaded.")
        return Constraint(matcher, self._maskers, self._vocabulary)

    def later(self, call: Callable[[], None]) -> None:
        """Call it on a thread that compiles, which it must not keep busy, unless the model is being unloaded."""
        with suppress(RuntimeError):
            self._compilers.submit(call)

    def close(self) -> None:
        """Compile and mask no more. What runs already runs to its end, but nobody waits for it."""
        self._closed = True
        for pool in (self._compilers, self._maskers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _take_turn(self, account: str | None) -> None:
        with self._turn:
            if not self._turn.wait_for(lambda: account not in self._compiling, COMPILE_S):
                raise GrammarBusyError("Another grammar of this account is still being compiled: send this one later.")
            self._compiling.add(account)

    def _end_turn(self, account: str | None) -> None:
        with self._turn:
            self._compiling.discard(account)
            self._turn.notify_all()


def _compile(tokens: LLTokenizer, definition: str, begun: threading.Event) -> LLMatcher:
    begun.set()
    try:
        matcher = LLMatcher(tokens, definition, log_level=0, limits=_LIMITS)
        matcher.compute_bitmask()  # most of the compile is put off until the first mask, and so are its errors
    except BaseException as fault:  # a panic of the library is no Exception
        raise GrammarError("The grammar cannot be compiled.") from fault
    if matcher.is_error():
        raise GrammarError(_sentence(matcher))
    return matcher


class Constraint:
    """How far one sequence has come in its grammar, and which tokens may follow.

    `error` says why none may any more; `complete` that the text is whole and nothing can be added to it. Both are as
    new as `forbidden` when it is ready. It is not `awake` while the sequence thinks, which no grammar is about.
    """

    def __init__(
        self,
        matcher: LLMatcher,
        pool: ThreadPoolExecutor,
        vocabulary: Vocabulary,
        forbidden: Future[torch.Tensor] | None = None,
    ) -> None:
        self.error = ""
        self.complete = False
        self.awake = True
        self._sleeps_at: int | None = None
        self.end_token_ids = vocabulary.end_token_ids
        self._matcher = matcher
        self._pool = pool
        self._vocabulary = vocabulary
        self._forbidden = forbidden or pool.submit(self._mask)

    @property
    def ready(self) -> bool:
        """Whether `forbidden` returns at once."""
        return self._forbidden.done()

    @property
    def forbidden(self) -> torch.Tensor:
        """The tokens that may not come next, bool of shape (vocabulary,) on the CPU. An error forbids all of them."""
        forbidden = self._forbidden.result()
        if self._sleeps_at is None or self.error:
            return forbidden
        forbidden = forbidden.clone()
        forbidden[self._sleeps_at] = False
        return forbidden

    def sleep(self) -> None:
        """Let all tokens pass until `wake` is called: they are none of the grammar's."""
        self.awake = False

    def may_sleep_at(self, token: int | None) -> None:
        """Let this token come first, and sleep if it does."""
        self._sleeps_at = token

    def wake(self, tokens: Sequence[int] = ()) -> None:
        """Have a say in what follows these tokens, the first that it is told of."""
        self.awake = True
        first = self._forbidden
        if tokens:
            self._forbidden = self._pool.submit(self._mask_behind, first, tokens)

    def when_ready(self, call: Callable[[], None]) -> None:
        """Call it once `forbidden` is ready, at once where it is, on the thread that made it so."""
        self._forbidden.add_done_callback(lambda _: call())

    def accept(self, token: int) -> None:
        """Go on with the next token of the output, and begin to work out what may follow it."""
        sleeps_at, self._sleeps_at = self._sleeps_at, None
        if token == sleeps_at:
            self.sleep()
        elif self.awake:
            self._forbidden = self._pool.submit(self._mask, token)

    def fork(self) -> Constraint:
        """The same for another choice of the request, before any of them has begun."""
        self._forbidden.result()  # the matcher is in use until then
        return Constraint(self._matcher.deep_copy(), self._pool, self._vocabulary, self._forbidden)

    def _mask_behind(self, first: Future[torch.Tensor], tokens: Sequence[int]) -> torch.Tensor:
        """The matcher is in use until the first mask is ready, which has had a thread for longer than this one."""
        first.result()
        return self._mask(*tokens)

    def _mask(self, *after: int) -> torch.Tensor:
        try:
            for token in after:
                self._matcher.consume_token(token)
            bits = self._matcher.compute_bitmask()
            if not self._matcher.is_error():
                self.complete = self._matcher.is_stopped()
                return _unpacked(bits, self._vocabulary.width)
            self.error = _sentence(self._matcher)
        except BaseException:  # a panic of the library is no Exception, and would end the thread that owns the device
            self.error = "The grammar failed while the answer was being written."
        return torch.ones(self._vocabulary.width, dtype=torch.bool)


_starting_threads = threading.Lock()


def _deep_threads(name: str) -> ThreadPoolExecutor:
    """A pool whose threads are all there, each with a deep stack, which takes address space but no memory."""
    pool = ThreadPoolExecutor(_THREADS, name)
    all_started = threading.Barrier(_THREADS + 1)
    with _starting_threads:
        usual = threading.stack_size(_STACK_BYTES)
        try:
            for _ in range(_THREADS):  # none is idle before all are there, so each of these starts one
                pool.submit(all_started.wait)
        finally:
            threading.stack_size(usual)
    all_started.wait()
    return pool


def _unpacked(bits: bytes, vocabulary: int) -> torch.Tensor:
    """True where the bit of a token is not set. Not by torch, which would start threads of its own for each of ours."""
    allowed = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=vocabulary, bitorder="little")
    return torch.from_numpy(allowed == 0)


def _sentence(matcher: LLMatcher) -> str:
    """Of several lines the first one says what is wrong, unless it only announces the last."""
    first, *others = str(matcher.get_error()).splitlines()
    told = f"{first} {others[-1]}" if others and first.endswith(":") else first
    return f"The grammar is not supported: {told[:300]}"
