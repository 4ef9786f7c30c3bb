"""One request on the device, from its prompt to the event that ends it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

from inference import grants
from inference.engine.blocks import BlockTable
from inference.engine.grammar import Constraint
from inference.engine.model import LoadedModel
from inference.engine.rendering import Rendered
from inference.engine.sampler import Chosen
from inference.engine.sequence import Sequence
from inference.events import (
    ChoiceReason,
    Ended,
    Event,
    Failed,
    Finished,
    PromptLogprobs,
    Started,
    Text,
    TokenLogprob,
)
from inference.requests import GenerationRequest

#: When a request may be sent again whose device or model went away: others may have it, or it is back by then.
RETRY_AFTER_S = 5


class Read(NamedTuple):
    """What a forward brought one sequence: so many tokens read, and the one sampled after the last of them, if any.

    `prompt` are log-probabilities of prompt tokens, where they were asked for. `late` says that no token was sampled
    because the mask of its grammar is not ready; the last token has to be read again.
    """

    tokens: int
    chosen: Chosen | None
    prompt: list[TokenLogprob]
    late: bool


class Generation:
    """One prompt and the `n` sequences that continue it. Advanced by the owner thread only; made by others.

    The first sequence reads the prompt; the others share its blocks and wait until it has.
    `bound` is the most tokens of one sequence: what was asked for, cut to what the context leaves after the prompt.
    `deadline` is when it ends, done or not, by the clock of the engine, and `queued_at` when it began to wait.
    `started` says that its first tokens were read.
    """

    def __init__(
        self,
        request: GenerationRequest,
        model: LoadedModel,
        prompt: Rendered,
        *,
        bound: int,
        deadline: float | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        self.id = request.id
        self.request = request
        self.account, self.key, self.priority = request.account, request.key, request.priority
        self.deadline = deadline
        self.model = model
        self.ended = False
        self.shared_prompt: BlockTable | None = None
        self.queued_at = 0.0
        self.started = False
        self._told = False
        self._prompt_read = False
        self._prompt_tokens = len(prompt.token_ids)
        self._reasons: set[ChoiceReason] = set()
        most_tokens = grants.most_tokens(request, prompt_tokens=self._prompt_tokens, bound=bound)
        self.sequences = [
            Sequence(
                index,
                request,
                model,
                prompt,
                most_tokens=most_tokens,
                constraint=constraint.fork() if constraint and index else constraint,
            )
            for index in range(request.n)
        ]

    @property
    def running(self) -> bool:
        """Whether it holds a place in the step."""
        return any(sequence.running for sequence in self.sequences)

    @property
    def begun(self) -> bool:
        """Whether it has, or had, a place in the step."""
        return any(sequence.begun or sequence.running for sequence in self.sequences)

    @property
    def completion_tokens(self) -> int:
        return sum(sequence.completion_tokens for sequence in self.sequences)

    @property
    def cached_tokens(self) -> int:
        """How much of the prompt was in memory already."""
        return self.sequences[0].cached_tokens

    @property
    def tables(self) -> list[BlockTable]:
        """Of all its memory."""
        shared = [self.shared_prompt] if self.shared_prompt else []
        return [*shared, *(sequence.table for sequence in self.sequences)]

    def move(self, model: LoadedModel) -> None:
        """Go on waiting for the same model, which was loaded again; it has not begun."""
        self.model = model
        for sequence in self.sequences:
            sequence.move(model)

    def is_ready(self, sequence: Sequence) -> bool:
        """Whether a sequence can compute: the first may at once, the others when the prompt is read."""
        return sequence.index == 0 or self._prompt_read

    def begin(self, sequence: Sequence) -> None:
        """A sequence that is ready has got a place, for the first time or again."""
        sequence.begin(None if sequence.begun else self.shared_prompt)
        if all(one.begun for one in self.sequences):
            self.unshare_prompt()

    def advance(self, sequence: Sequence, read: Read) -> list[Event]:
        """Take what a step brought one sequence. The end of the last sequence is the end of the request."""
        events: list[Event] = [] if self.started else [Started(self._prompt_tokens, self.cached_tokens)]
        self.started = True
        if told := sequence.tell(read.prompt):
            events.append(PromptLogprobs(told))
            self._told = True
        sequence.read(read.tokens)
        sequence.late = read.late
        if sequence.unread_tokens:
            return events
        if not self._prompt_read:
            self._share_prompt(sequence)
        piece = sequence.accept(read.chosen)
        if not piece.shown.empty:
            events.append(Text(piece.shown.text, self.completion_tokens, sequence.index, piece.shown.logprobs))
            self._told = True
        if piece.end is None:
            return events
        sequence.release()
        self._reasons.add(piece.end)
        events.append(Ended(sequence.index, piece.end, self.completion_tokens))
        if all(one.ended for one in self.sequences):
            reason: ChoiceReason = "length" if "length" in self._reasons else "stop"
            events.append(Finished(reason, self._prompt_tokens, self.completion_tokens, self.cached_tokens))
        return events

    def cancelled(self) -> Finished:
        """The end of a request whose cancel flag was seen. A prompt that was never begun counts as none."""
        return Finished("cancelled", self._billable_prompt_tokens, self.completion_tokens, self._billable_cached_tokens)

    def given_up(self, message: str) -> Failed:
        """The end of a request whose model or device is gone. Where nothing of it has left it can be sent again."""
        return self.failed("service_unavailable", message, retry_after_s=None if self._told else RETRY_AFTER_S)

    def failed(
        self, code: str | None, message: str, *, param: str | None = None, retry_after_s: int | None = None
    ) -> Failed:
        """The end of a request that cannot go on, at the fault of its field `param` where it is its own."""
        return Failed(
            code,
            message,
            prompt_tokens=self._billable_prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_tokens=self._billable_cached_tokens,
            param=param,
            retry_after_s=retry_after_s,
        )

    def release(self) -> None:
        """End it with all its sequences, and let go of the device's memory."""
        self.ended = True
        with ExitStack() as all_of_them:  # also where one cannot be released
            all_of_them.callback(self.unshare_prompt)
            for sequence in self.sequences:
                all_of_them.callback(sequence.release)

    def unshare_prompt(self) -> None:
        """Let go of the prompt that is kept for choices to come. They read it themselves if they come after this."""
        if self.shared_prompt is not None:
            shared, self.shared_prompt = self.shared_prompt, None
            shared.release()

    def _share_prompt(self, sequence: Sequence) -> None:
        self._prompt_read = True
        if len(self.sequences) > 1:
            self.shared_prompt = sequence.table.fork(self._prompt_tokens)

    @property
    def _billable_prompt_tokens(self) -> int:
        return self._prompt_tokens if self.started else 0

    @property
    def _billable_cached_tokens(self) -> int:
        return self.cached_tokens if self.started else 0
