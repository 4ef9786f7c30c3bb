"""One choice of a request on the device, from its prompt to its own end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from inference.engine.answers import reading
from inference.engine.answers.detokenizer import Detokenizer
from inference.engine.answers.stops import StopStrings
from inference.engine.answers.transcript import Shown, Transcript, Written
from inference.engine.grammars.grammar import Constraint
from inference.engine.memory.blocks import BlockCopy, BlockTable
from inference.engine.model import LoadedModel
from inference.engine.network.runner import Part
from inference.engine.prompts.rendering import Rendered
from inference.engine.sampling.sampler import Chosen, SamplerRow
from inference.events import ChoiceReason, TokenLogprob
from inference.requests import GenerationRequest

#: Logits of this many bytes at a time, where those of every token of a prompt are wanted.
_PROMPT_LOGITS_BYTES = 64 * 1024 * 1024


class Piece(NamedTuple):
    """What one step of a sequence brought: what may be shown, and the reason if the sequence ended with it.

    `stop` is the stop string that ended it, if one did.
    """

    written: list[Written]
    end: ChoiceReason | None = None
    stop: str | None = None


class Sequence:
    """Its tokens, how many of them the model has read, and where their keys and values are.

    `index` is its number in the request and `choice` that among those that continue the same prompt, by which it draws.
    Advanced by the owner thread only; made by others. It never samples more than `most_tokens`. `late` says that the
    mask of its grammar was not there when it was to be sampled; it had better sit the steps out until that is `ready`.
    """

    def __init__(
        self,
        index: int,
        request: GenerationRequest,
        model: LoadedModel,
        prompt: Rendered,
        *,
        choice: int,
        most_tokens: int,
        constraint: Constraint | None = None,
    ) -> None:
        prompt_ids = prompt.token_ids
        self.index = index
        self.running = False
        self.begun = False
        self.ended = False
        self.late = False
        self.read_tokens = 0
        self.cached_tokens = 0
        self._room_tokens = len(prompt_ids) + most_tokens
        self._extended = model.runner.extends(self._room_tokens)
        self._account = request.account
        self.table = self._empty_table(model)
        self.sampler_row = SamplerRow(
            request.sampling, prompt_ids, vocabulary=model.runner.vocabulary, index=choice, constraint=constraint
        )
        self._token_ids = list(prompt_ids)
        self._prompt_tokens = len(prompt_ids)
        self._most_tokens = most_tokens
        self._counted_tokens = 0
        self._model = model
        self._end_token_ids = _end_token_ids(request, model, constraint)
        self._transcript = Transcript(
            Detokenizer(model.tokenizer, prompt_ids),
            StopStrings(request.stop),
            reading.parser(request, model.family, thinking=prompt.thinking),
        )
        self._constraint = constraint
        if constraint and self._transcript.thinking:
            constraint.sleep()
        elif constraint:
            constraint.may_sleep_at(self._transcript.begins_thinking)
        # The first choice reads the prompt, and tells of each token once, also if it has to read it again.
        self._untold_tokens = 0 if request.prompt_logprobs is None or choice else self._prompt_tokens

    @property
    def reasoning_tokens(self) -> int:
        """Those of the completion that it thought with, the markers around them included."""
        return self._transcript.reasoning_tokens

    @property
    def completion_tokens(self) -> int:
        return len(self._token_ids) - self._prompt_tokens

    @property
    def unread_tokens(self) -> int:
        """One while it decodes; more while it reads its prompt, or after it lost its place, what it wrote as well."""
        return len(self._token_ids) - self.read_tokens

    @property
    def readable_tokens(self) -> int:
        """The most that it reads in one step, as far as it is concerned."""
        if not self._untold_tokens:
            return self.unread_tokens
        return min(self.unread_tokens, max(1, _PROMPT_LOGITS_BYTES // (4 * self._model.runner.vocabulary)))

    @property
    def ready(self) -> bool:
        """Whether a step would not be lost on it."""
        return not self.late or self.sampler_row.ready

    @property
    def missing_blocks(self) -> int:
        """Free blocks that it needs to read all its tokens and one more."""
        missing = self._model.runner.pool.blocks_for(len(self._token_ids) + 1) - len(self.table.blocks)
        if self.table.blocks or self._untold_tokens:
            return missing
        return missing - self._model.runner.pool.owned(self.table.known_blocks(self._token_ids))

    @property
    def may_sample(self) -> bool:
        """The last word of the grant: no token is sampled past it."""
        return self.completion_tokens < self._most_tokens

    def move(self, model: LoadedModel) -> None:
        """Its model was loaded again, with other memory. It has none of the old one."""
        self._model = model
        self.table = self._empty_table(model)

    def _empty_table(self, model: LoadedModel) -> BlockTable:
        return BlockTable(
            model.runner.pool, account=self._account, extended=self._extended, room_tokens=self._room_tokens
        )

    def begin(self, prompt: BlockTable | None) -> None:
        """Start on what another choice has read of the prompt, or on what the model remembers of the tokens.

        The last token is read in any case: its logits are needed.
        """
        if prompt is not None:
            self.table = prompt.fork(self._prompt_tokens)
            self._copy(self.table.gather())
            self.read_tokens = self._prompt_tokens - 1
            self._counted_tokens = self._prompt_tokens
        else:
            self._remember()
        self.begun = True

    def _remember(self) -> None:
        """Once at its start, and whenever it comes back after it gave way: the only look-up there is.

        Who is to be told of its prompt's log-probabilities has it computed.
        """
        if self._untold_tokens:
            return
        self._copy(self.table.attach(self._token_ids))
        self.read_tokens = len(self.table.blocks) * self._model.runner.pool.block_tokens
        self._counted_tokens = max(self._counted_tokens, self.read_tokens)
        if not self.begun:
            self.cached_tokens = self.read_tokens

    def reserve(self, tokens: int) -> None:
        """Take the blocks for the next tokens. Raises OutOfBlocksError and changes nothing if there are too few."""
        copy = self.table.reserve(self.read_tokens, self.read_tokens + tokens)
        if copy is not None:
            self._copy([copy])

    def part(self, tokens: int) -> Part:
        """The next tokens to be read; logits are wanted of tokens that `told` needs, and where one is sampled."""
        stop = self.read_tokens + tokens
        wanted = stop - self._first_untold if self._untold_tokens else int(self.samples(tokens))
        ids = self._token_ids[self.read_tokens : stop]
        return Part(ids, self.read_tokens, self.table, max(0, wanted), self._extended)

    def samples(self, tokens: int) -> bool:
        """Whether a token is sampled after the next `tokens`: by the last row of their logits."""
        return tokens == self.unread_tokens and self.may_sample

    def told(self, tokens: int) -> list[int]:
        """The prompt tokens whose log-probabilities the next `tokens` bring: by the first rows of their logits."""
        if not self._untold_tokens:
            return []
        return self._token_ids[self._first_untold + 1 : min(self.read_tokens + tokens + 1, self._prompt_tokens)]

    @property
    def _first_untold(self) -> int:
        """The first token read next after which it is to be told how likely the following one was."""
        return max(self.read_tokens, self._prompt_tokens - self._untold_tokens - 1)

    def tell(self, tokens: list[TokenLogprob]) -> list[TokenLogprob]:
        """Note that prompt tokens are told. Returns what there is to tell: before all others the very first token."""
        if not self._untold_tokens:
            return []
        if self._untold_tokens == self._prompt_tokens:
            tokens = [self._model.vocabulary.unpredicted(self._token_ids[0]), *tokens]
        self._untold_tokens -= len(tokens)
        return tokens

    def _copy(self, copies: list[BlockCopy]) -> None:
        for copy in copies:
            self._model.runner.key_values.copy(copy)

    def read(self, tokens: int) -> None:
        """So many more tokens are in memory."""
        self.read_tokens += tokens
        self.table.record(self._token_ids, self.read_tokens)

    def count(self, tokens: int) -> int:
        """What reading the next tokens takes of a share: prompt tokens the first time, and the token sampled."""
        read = self.read_tokens + tokens
        prompt = max(0, min(read, self._prompt_tokens) - self._counted_tokens)
        self._counted_tokens += prompt
        return prompt + (read == len(self._token_ids))

    def preempt(self) -> None:
        """Give up the memory; what is not remembered will be read again."""
        self.running = False
        self.read_tokens = 0
        self.table.release()

    def release(self) -> None:
        """End it, and let go of the device's memory and of a place in a step."""
        self.ended, self.running = True, False
        self.table.release()

    def accept(self, chosen: Chosen | None) -> Piece:
        """Take the token that was sampled after all that is read; None where none might be."""
        if chosen is None:
            return self._end("stop" if self.sampler_row.complete else "length")
        self._token_ids.append(chosen.token)
        if chosen.token in self._end_token_ids:
            return self._end("stop")
        self.sampler_row.accept(chosen.token)
        logprob = chosen.logprob and self._model.vocabulary.spelled(chosen.logprob)
        written = self._transcript.push(chosen.token, logprob)
        if self._transcript.stopped or not self.may_sample:
            return self._end("length", written)
        if self._constraint and not self._constraint.awake and not self._transcript.thinking:
            self._wake(self._constraint, written)
        return Piece(written)

    def _wake(self, constraint: Constraint, written: list[Written]) -> None:
        """Reasoning has ended: what the last token wrote behind its end is the first that the grammar is told."""
        said = "".join(shown.text for shown in written if isinstance(shown, Shown) and shown.kind == "text")
        constraint.wake(self._model.tokenizer.encode(said, add_special_tokens=False).ids if said else ())

    def _end(self, reason: ChoiceReason, written: Iterable[Written] = ()) -> Piece:
        whole = [*written, *self._transcript.finish()]
        if self._transcript.stopped:
            reason = "stop"
        if reason == "stop" and self._transcript.complete_calls:
            reason = "tool_calls"
        return Piece(whole, reason, self._transcript.stop)


def _end_token_ids(request: GenerationRequest, model: LoadedModel, constraint: Constraint | None) -> frozenset[int]:
    """A grammar that is complete ends the answer, also where the model's own end tokens do not."""
    own = frozenset[int]() if request.ignore_eos else model.end_token_ids
    return own | {*request.stop_token_ids} | (constraint.end_token_ids if constraint else frozenset())
