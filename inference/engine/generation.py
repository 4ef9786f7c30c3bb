"""One request on the device, from its prompt to the event that ends it."""

from __future__ import annotations

from inference import grants
from inference.engine.blocks import BlockTable
from inference.engine.model import LoadedModel
from inference.engine.sequence import Sequence
from inference.events import ChoiceReason, Ended, Event, Failed, Finished, Started, Text
from inference.requests import GenerationRequest


class Generation:
    """One prompt and the `n` sequences that continue it. Advanced by the owner thread only; made by others.

    The first sequence reads the prompt; the others share its blocks and wait until it has.
    `bound` is the most tokens of one sequence: what was asked for, cut to what the context leaves after the prompt.
    `deadline` is when it ends, done or not, by the clock of the engine.
    """

    def __init__(
        self,
        request: GenerationRequest,
        model: LoadedModel,
        prompt_ids: list[int],
        *,
        bound: int,
        deadline: float | None = None,
    ) -> None:
        self.id = request.id
        self.account, self.key, self.priority = request.account, request.key, request.priority
        self.deadline = deadline
        self.model = model
        self.ended = False
        self.shared_prompt: BlockTable | None = None
        self._started = False
        self._prompt_read = False
        self._prompt_tokens = len(prompt_ids)
        self._reasons: set[ChoiceReason] = set()
        most_tokens = grants.most_tokens(request, prompt_tokens=self._prompt_tokens, bound=bound)
        self.sequences = [
            Sequence(index, request, model, prompt_ids, most_tokens=most_tokens) for index in range(request.n)
        ]

    @property
    def running(self) -> bool:
        """Whether it holds a place in the step."""
        return any(sequence.running for sequence in self.sequences)

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

    def is_ready(self, sequence: Sequence) -> bool:
        """Whether a sequence can compute: the first may at once, the others when the prompt is read."""
        return sequence.index == 0 or self._prompt_read

    def begin(self, sequence: Sequence) -> None:
        """A sequence that is ready has got a place, for the first time or again."""
        sequence.begin(None if sequence.begun else self.shared_prompt)
        if all(one.begun for one in self.sequences):
            self.unshare_prompt()

    def advance(self, sequence: Sequence, tokens: int, token_id: int | None) -> list[Event]:
        """Take what a step brought one sequence: so many tokens read, and the token sampled after the last of them.

        The end of the last sequence is the end of the request.
        """
        events: list[Event] = [] if self._started else [Started(self._prompt_tokens, self.cached_tokens)]
        self._started = True
        sequence.read(tokens)
        if sequence.unread_tokens:
            return events
        if not self._prompt_read:
            self._share_prompt(sequence)
        piece = sequence.accept(token_id)
        if piece.text:
            events.append(Text(piece.text, self.completion_tokens, sequence.index))
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
        cached_tokens = self.cached_tokens if self._started else 0
        return Finished("cancelled", self._billable_prompt_tokens, self.completion_tokens, cached_tokens)

    def failed(self, code: str | None, message: str) -> Failed:
        """The end of a request that cannot go on."""
        return Failed(code, message, {}, self._billable_prompt_tokens, self.completion_tokens)

    def release(self) -> None:
        """End it with all its sequences, and let go of the device's memory."""
        self.ended = True
        self.unshare_prompt()
        for sequence in self.sequences:
            sequence.release()

    def unshare_prompt(self) -> None:
        """Let go of the prompt that is kept for choices to come. They read it themselves if they come after this."""
        if self.shared_prompt is not None:
            self.shared_prompt.release()
            self.shared_prompt = None

    def _share_prompt(self, sequence: Sequence) -> None:
        self._prompt_read = True
        if len(self.sequences) > 1:
            self.shared_prompt = sequence.table.fork(self._prompt_tokens)

    @property
    def _billable_prompt_tokens(self) -> int:
        return self._prompt_tokens if self._started else 0
