"""One request on the device, from its prompt to the event that ends it."""

from __future__ import annotations

from inference import grants
from inference.engine.model import LoadedModel
from inference.engine.prefill import Prefill
from inference.engine.sequence import Sequence
from inference.events import ChoiceReason, Ended, Event, Failed, Finished, Started, Text
from inference.requests import GenerationRequest


class Generation:
    """One prompt and the `n` sequences that continue it. Advanced by the owner thread only; made by others.

    `bound` is the most tokens of one sequence: what was asked for, cut to what the context leaves after the prompt.
    """

    def __init__(self, request: GenerationRequest, model: LoadedModel, prompt_ids: list[int], *, bound: int) -> None:
        self.id = request.id
        self.model = model
        self.ended = False
        self._prompt_tokens = len(prompt_ids)
        self._prefill = Prefill(model, prompt_ids, sequences=request.n)
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
    def unread_tokens(self) -> int:
        """Prompt tokens that the model has not read yet; 0 while its sequences decode."""
        return self._prefill.unread_tokens

    @property
    def completion_tokens(self) -> int:
        return sum(sequence.completion_tokens for sequence in self.sequences)

    def read(self, tokens: int) -> list[Event]:
        """Read the next part of the prompt; the last part also gives the first token of the first sequence."""
        begun = self._prefill.read_tokens > 0
        self._prefill.read(tokens)
        events: list[Event] = [] if begun else [Started(self._prompt_tokens)]
        return events if self.unread_tokens else events + self.advance(self.sequences[0])

    def advance(self, sequence: Sequence) -> list[Event]:
        """Sample the next token of one sequence; the end of the last one is the end of the request."""
        piece = sequence.decode() if sequence.begun else sequence.begin(self._prefill)
        events: list[Event] = []
        if piece.text:
            events.append(Text(piece.text, self.completion_tokens, sequence.index))
        if piece.end is None:
            return events
        sequence.release()
        self._reasons.add(piece.end)
        events.append(Ended(sequence.index, piece.end, self.completion_tokens))
        if all(one.ended for one in self.sequences):
            reason: ChoiceReason = "length" if "length" in self._reasons else "stop"
            events.append(Finished(reason, self._prompt_tokens, self.completion_tokens))
        return events

    def cancelled(self) -> Finished:
        """The end of a request whose cancel flag was seen. A prompt that was never begun counts as none."""
        return Finished("cancelled", self._billable_prompt_tokens, self.completion_tokens)

    def failed(self, code: str | None, message: str) -> Failed:
        """The end of a request that cannot go on."""
        return Failed(code, message, {}, self._billable_prompt_tokens, self.completion_tokens)

    def release(self) -> None:
        """End it with all its sequences, and let go of the device's memory."""
        self.ended = True
        self._prefill.release()
        for sequence in self.sequences:
            sequence.release()

    @property
    def _billable_prompt_tokens(self) -> int:
        return self._prompt_tokens if self._prefill.read_tokens else 0
