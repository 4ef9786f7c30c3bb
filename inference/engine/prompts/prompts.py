"""From a request to the tokens that a model reads: chat template, then tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from inference.engine.families import CallForm, family_of, template_text
from inference.engine.progress import first_sentence
from inference.engine.prompts import conversations
from inference.engine.prompts.rendering import Conversation, Rendered, Renderer
from inference.engine.prompts.truncation import shortened
from inference.requests import GenerationRequest, Message, Tool

logger = logging.getLogger(__name__)

#: Below DEBUG: what clients wrote.
TRACE = 5
_LONGEST_TRACE = 8192

DEFAULT_TEMPLATE = (Path(__file__).parent / "default_template.jinja").read_text()


_NO_TOOLS = "The chat template of this model does not know tools."


class TemplateFailedError(Exception):
    """A conversation with tools for which the model's template has no prompt; the message is for the client."""


class Prompts:
    """Renders and tokenizes the prompts of one model. Called from any thread that is not a device's owner."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model_id: str) -> None:
        self._tokenizer = tokenizer
        self._model_id = model_id
        self.family = family_of(template_text(tokenizer), tokenizer.get_added_vocab())
        self._renderer = Renderer(tokenizer, self.family)
        self.chat_template: Literal["model", "default"] = "model" if tokenizer.chat_template else "default"
        if self.chat_template == "default":
            logger.warning("%s has no chat template of its own: it gets the plain default one", model_id)

    def of(self, request: GenerationRequest, *, most_tokens: int) -> list[Rendered]:
        """What a request asks to be continued: its texts as they are, or its messages as the template writes them.

        Only messages that may be cut keep to `most_tokens`, if they can.
        """
        if request.prompts:
            return [self._renderer.whole(prompt, echo=request.echo) for prompt in request.prompts]
        offered = request.tool_use is not None and request.tool_use.choice != "none"

        def render(messages: Sequence[Message]) -> Rendered:
            return self.encode(
                messages,
                tools=request.tool_use.tools if request.tool_use and offered else (),
                fields=request.template_kwargs,
                continue_last=request.continue_last,
            )

        if request.truncate:
            return [shortened(request.messages, render, most_tokens=most_tokens)]
        return [render(request.messages)]

    def encode(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        fields: dict[str, Any] | None = None,
        continue_last: bool = False,
    ) -> Rendered:
        """The prompt's tokens, up to and including the opening of the answer.

        `fields` reach the template by their names. Raises TemplateFailedError where the tools cannot be told, and
        PromptError for what cannot be put into any prompt.
        """
        ready = conversations.conversation(messages, call_id=self._call_id)
        last = ready[-1] if ready else {}
        continues = continue_last and last.get("role") == "assistant"
        conversation = Conversation(ready, conversations.tool_objects(tools) or None, fields or {}, continues)
        if continues and not (last.get("content") or last.get("reasoning_content")):
            conversation = _with_an_answer_to_come(conversation)
        text = self._render(conversation)
        self._trace(text, len(tools))
        return self._renderer.encode(text, continues=conversation.continues)

    @property
    def _call_id(self) -> Callable[[str], str]:
        return conversations.nine_characters if self.family.calls.form is CallForm.MISTRAL else str

    def _render(self, conversation: Conversation) -> str:
        """By the first form of the conversation that the model's own template takes."""
        if self.chat_template == "default":
            return self._render_plainly(conversation)
        template = self._tokenizer.get_chat_template(tools=conversation.tools)
        faults: list[Exception] = []
        for form in _forms(conversation):
            try:
                text = self._renderer.render(template, form)
            except Exception as fault:
                faults.append(fault)
                continue
            if form.tools and text == self._without_tools(template, form):
                raise TemplateFailedError(_NO_TOOLS)
            return text
        said = first_sentence(faults[0])
        if conversation.tools and not self.family.declared:
            raise TemplateFailedError(_NO_TOOLS)
        if conversation.tools:
            raise TemplateFailedError(f"The chat template of this model failed with these tools: {said}.")
        logger.warning("%s: its chat template failed (%s): the plain default one is used", self._model_id, said)
        return self._render_plainly(conversation)

    def _render_plainly(self, conversation: Conversation) -> str:
        """What is thought is not shown by this one, and so cannot be continued."""
        plain = _with_an_answer_to_come(conversation) if conversation.continues_reasoning else conversation
        return self._renderer.render(DEFAULT_TEMPLATE, plain)

    def _without_tools(self, template: str, conversation: Conversation) -> str | None:
        try:
            return self._renderer.render(template, conversation._replace(tools=None))
        except Exception:
            return None

    def _trace(self, text: str, tools: int) -> None:
        if logger.isEnabledFor(TRACE):
            logger.log(
                TRACE,
                "%s: prompt of %d characters, %d tools: %.*s",
                self._model_id,
                len(text),
                tools,
                _LONGEST_TRACE,
                text,
            )


def _forms(conversation: Conversation) -> Iterator[Conversation]:
    """A conversation as it is, then in what forms stricter templates take it."""
    yield conversation
    if "reasoning_effort" in conversation.fields:  # which is of few values, and not of the same everywhere
        fields = {name: value for name, value in conversation.fields.items() if name != "reasoning_effort"}
        conversation = conversation._replace(fields=fields)
        yield conversation
    if conversation.continues_reasoning:
        conversation = _with_an_answer_to_come(conversation)
        yield conversation
    messages = conversation.messages
    if any(len(message.get("tool_calls", ())) > 1 for message in messages):
        messages = conversations.with_calls_one_by_one(messages)
        yield conversation._replace(messages=messages)
    if messages and messages[0]["role"] == "system":
        yield conversation._replace(messages=conversations.with_system_in_first_question(messages))


def _with_an_answer_to_come(conversation: Conversation) -> Conversation:
    return conversation._replace(messages=conversation.messages[:-1], continues=False)
