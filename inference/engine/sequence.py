"""One choice of a request on the device, from its prompt to its own end."""

from __future__ import annotations

from typing import NamedTuple

from inference.engine.blocks import BlockTable, blocks_for
from inference.engine.detokenizer import Detokenizer
from inference.engine.model import LoadedModel
from inference.engine.runner import Part
from inference.engine.sampler import SamplerRow
from inference.engine.stops import StopStrings
from inference.events import ChoiceReason
from inference.requests import GenerationRequest


class Piece(NamedTuple):
    """What one step of a sequence brought: text that may be shown, and the reason if the sequence ended with it."""

    text: str
    end: ChoiceReason | None = None


class Sequence:
    """Its tokens, how many of them the model has read, and where their keys and values are.

    Advanced by the owner thread only; made by others. It never samples more than `most_tokens`.
    """

    def __init__(
        self, index: int, request: GenerationRequest, model: LoadedModel, prompt_ids: list[int], *, most_tokens: int
    ) -> None:
        self.index = index
        self.running = False
        self.begun = False
        self.ended = False
        self.read_tokens = 0
        self.table = BlockTable(model.runner.pool)
        self.sampler_row = SamplerRow(request.sampling, prompt_ids, vocabulary=model.runner.vocabulary, index=index)
        self._token_ids = list(prompt_ids)
        self._prompt_tokens = len(prompt_ids)
        self._most_tokens = most_tokens
        self._model = model
        self._end_token_ids = frozenset() if request.ignore_eos else model.end_token_ids
        self._detokenizer = Detokenizer(model.tokenizer, prompt_ids)
        self._stops = StopStrings(request.stop)

    @property
    def completion_tokens(self) -> int:
        return len(self._token_ids) - self._prompt_tokens

    @property
    def unread_tokens(self) -> int:
        """One while it decodes; more while it reads its prompt, or after it lost its place, what it wrote as well."""
        return len(self._token_ids) - self.read_tokens

    @property
    def missing_blocks(self) -> int:
        """Blocks that it has to take to read all its tokens and one more."""
        return blocks_for(len(self._token_ids) + 1) - len(self.table.blocks)

    @property
    def may_sample(self) -> bool:
        """The last word of the grant: no token is sampled past it."""
        return self.completion_tokens < self._most_tokens

    def begin(self, prompt: BlockTable | None) -> None:
        """Start on what another choice has read of the prompt. The last token is read again: its logits are needed."""
        self.begun = True
        if prompt is not None:
            self.table = prompt.fork(self._prompt_tokens)
            self.read_tokens = self._prompt_tokens - 1

    def reserve(self, tokens: int) -> None:
        """Take the blocks for the next tokens. Raises OutOfBlocksError and changes nothing if there are too few."""
        copy = self.table.reserve(self.read_tokens, self.read_tokens + tokens)
        if copy is not None:
            self._model.runner.key_values.copy(copy)

    def part(self, tokens: int) -> Part:
        """The next tokens to be read; logits are wanted where a token is sampled after them."""
        ids = self._token_ids[self.read_tokens : self.read_tokens + tokens]
        return Part(ids, self.read_tokens, self.table, wanted=tokens == self.unread_tokens and self.may_sample)

    def preempt(self) -> None:
        """Give up the memory; what was in it will be read again."""
        self.running = False
        self.read_tokens = 0
        self.table.release()

    def release(self) -> None:
        """End it, and let go of the device's memory and of a place in a step."""
        self.ended, self.running = True, False
        self.table.release()

    def accept(self, token_id: int | None) -> Piece:
        """Take the token that was sampled after all that is read; None where none might be."""
        if token_id is None:
            return self._end("length", "")
        self._token_ids.append(token_id)
        self.sampler_row.accept(token_id)
        if token_id in self._end_token_ids:
            return self._end("stop", "")
        visible = self._stops.push(self._detokenizer.push(token_id))
        if self._stops.hit or not self.may_sample:
            return self._end("length", visible)
        return Piece(visible)

    def _end(self, reason: ChoiceReason, visible: str) -> Piece:
        visible += self._stops.push(self._detokenizer.flush()) + self._stops.flush()
        return Piece(visible, "stop" if self._stops.hit else reason)
