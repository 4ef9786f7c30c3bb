"""One request on the device, from its prompt to the event that ends it."""

from __future__ import annotations

from collections.abc import Sequence as Several
from contextlib import ExitStack
from typing import NamedTuple

from inference import grants
from inference.engine.answers.markup import Arguments, Begun
from inference.engine.answers.transcript import Shown, Written
from inference.engine.grammars.grammar import Constraint
from inference.engine.grammars.loose_answers import LooseAnswers
from inference.engine.memory.blocks import BlockTable
from inference.engine.model import LoadedModel
from inference.engine.prompts.rendering import Rendered
from inference.engine.requests.sequence import Sequence
from inference.engine.requests.shared_prompt import SharedPrompt
from inference.engine.sampling.sampler import Chosen
from inference.events import (
    CallArguments,
    CallBegun,
    ChoiceReason,
    Ended,
    Event,
    Failed,
    Finished,
    FinishReason,
    PromptLogprobs,
    Reasoning,
    Started,
    Text,
    TokenLogprob,
)
from inference.requests import GenerationRequest

#: When a request may be sent again whose device or model went away: others may have it, or it is back by then.
RETRY_AFTER_S = 5

#: A request ended for the first of these that one of its choices ended for.
_FIRST_REASON: tuple[ChoiceReason, ...] = ("length", "tool_calls", "stop")


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
    """The prompts of a request and the `n` sequences that continue each. Advanced by the owner thread only; made by
    others.

    `context_tokens` cut what was asked for of each sequence to what is left behind its prompt.
    `arrived_at` is when it began to wait, by the clock of the engine, and `deadline` when it ends, done or not.
    `started` says that its first tokens were read.
    """

    def __init__(
        self,
        request: GenerationRequest,
        model: LoadedModel,
        prompts: Several[Rendered],
        *,
        context_tokens: int,
        arrived_at: float = 0.0,
        constraint: Constraint | None = None,
    ) -> None:
        self.id = request.id
        self.request = request
        self.account, self.key, self.priority = request.account, request.key, request.priority
        self.arrived_at = arrived_at
        self.deadline = None if request.timeout_s is None else arrived_at + request.timeout_s
        self.model = model
        self.ended = False
        self.started = False
        self._told = False
        self._reasons: set[ChoiceReason] = set()
        self._loose = LooseAnswers(request, model.grammars.later)
        self._prompt_tokens = sum(len(prompt.token_ids) for prompt in prompts)
        self._prompts = [
            self._shared_prompt(number, prompt, context_tokens, constraint) for number, prompt in enumerate(prompts)
        ]
        self.sequences = [sequence for prompt in self._prompts for sequence in prompt.sequences]

    def _shared_prompt(
        self, number: int, prompt: Rendered, context_tokens: int, constraint: Constraint | None
    ) -> SharedPrompt:
        tokens = len(prompt.token_ids)
        bound = min(self.request.max_tokens, context_tokens - tokens)
        most_tokens = grants.most_tokens(self.request, prompt_tokens=self._prompt_tokens, bound=bound)
        sequences = [
            Sequence(
                number * self.request.n + choice,
                self.request,
                self.model,
                prompt,
                choice=choice,
                most_tokens=most_tokens,
                constraint=constraint.fork() if constraint and (number or choice) else constraint,
            )
            for choice in range(self.request.n)
        ]
        return SharedPrompt(number, tokens, sequences, echo=prompt.text if self.request.echo else "")

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
    def reasoning_tokens(self) -> int:
        return sum(sequence.reasoning_tokens for sequence in self.sequences)

    @property
    def cached_tokens(self) -> int:
        """How much of the prompts was in memory already, as far as they were begun."""
        return sum(prompt.cached_tokens for prompt in self._prompts)

    @property
    def keeps_prompts(self) -> bool:
        """Whether it has memory that no sequence of it has: prompts that are kept for choices to come."""
        return any(prompt.kept for prompt in self._prompts)

    @property
    def tables(self) -> list[BlockTable]:
        """Of all its memory."""
        kept = [prompt.kept for prompt in self._prompts if prompt.kept]
        return [*kept, *(sequence.table for sequence in self.sequences)]

    def move(self, model: LoadedModel) -> None:
        """Go on waiting for the same model, which was loaded again; it has not begun."""
        self.model = model
        for sequence in self.sequences:
            sequence.move(model)

    def is_ready(self, sequence: Sequence) -> bool:
        """Whether a sequence can compute: the first of a prompt may at once, the others when it is read."""
        return self._prompt_of(sequence).is_ready(sequence)

    def begin(self, sequence: Sequence) -> None:
        """A sequence that is ready has got a place, for the first time or again."""
        self._prompt_of(sequence).begin(sequence)

    def _prompt_of(self, sequence: Sequence) -> SharedPrompt:
        return self._prompts[sequence.index // self.request.n]

    def advance(self, sequence: Sequence, read: Read) -> list[Event]:
        """Take what a step brought one sequence. The end of the last sequence is the end of the request."""
        prompt = self._prompt_of(sequence)
        events: list[Event] = [] if self.started else [Started(self._prompt_tokens, self.cached_tokens)]
        self.started = prompt.started = True
        if told := sequence.tell(read.prompt):
            events.append(PromptLogprobs(told, prompt.number))
            self._told = True
        sequence.read(read.tokens)
        sequence.late = read.late
        if sequence.unread_tokens:
            return events
        prompt.was_read(sequence)
        if echo := prompt.echoed(sequence):
            events.append(Text(echo, self.completion_tokens, sequence.index))
            self._told = True
        piece = sequence.accept(read.chosen)
        for written in piece.written:
            events.append(self._event(written, sequence.index))
            self._loose.add(events[-1])
            self._told = True
        if piece.end is None:
            return events
        sequence.release()
        self._reasons.add(piece.end)
        events.append(Ended(sequence.index, piece.end, self.completion_tokens, piece.stop))
        self._loose.add(events[-1])
        if all(one.ended for one in self.sequences):
            reason = next(reason for reason in _FIRST_REASON if reason in self._reasons)
            events.append(self._finished(reason, self._prompt_tokens, self.cached_tokens))
        return events

    def _event(self, written: Written, index: int) -> Event:
        completion_tokens = self.completion_tokens
        match written:
            case Begun(name, call):
                return CallBegun(name, completion_tokens, index, call)
            case Arguments(text, call):
                return CallArguments(text, completion_tokens, index, call)
            case Shown(text, logprobs, "reasoning"):
                return Reasoning(text, completion_tokens, self.reasoning_tokens, index, logprobs)
        return Text(written.text, completion_tokens, index, written.logprobs)

    def _finished(self, reason: FinishReason, prompt_tokens: int, cached_tokens: int) -> Finished:
        return Finished(reason, prompt_tokens, self.completion_tokens, cached_tokens, self.reasoning_tokens)

    def cancelled(self) -> Finished:
        """The end of a request whose cancel flag was seen. A prompt that was never begun counts as none."""
        return self._finished("cancelled", self._billable_prompt_tokens, self._billable_cached_tokens)

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
            reasoning_tokens=self.reasoning_tokens,
        )

    def release(self) -> None:
        """End it with all its sequences, and let go of the device's memory."""
        self.ended = True
        with ExitStack() as all_of_them:  # also where one cannot be released
            all_of_them.callback(self.forget_prompts)
            for sequence in self.sequences:
                all_of_them.callback(sequence.release)

    def forget_prompts(self) -> None:
        """Let go of the prompts that are kept for choices to come, which read them themselves after this."""
        with ExitStack() as all_of_them:
            for prompt in self._prompts:
                all_of_them.callback(prompt.forget)

    @property
    def _billable_prompt_tokens(self) -> int:
        return sum(prompt.tokens for prompt in self._prompts if prompt.started)

    @property
    def _billable_cached_tokens(self) -> int:
        return sum(prompt.cached_tokens for prompt in self._prompts if prompt.started)
