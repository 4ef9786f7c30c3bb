"""A chat template applied: text that a template and a client wrote, and the tokens of it.

The sandbox is transformers'.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from transformers import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils as templates

from inference.engine.families import Family, Span
from inference.engine.prompts.spellings import Spellings, whole_characters
from inference.requests import Message

#: Names in a template that are not a client's to set.
RESERVED = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversations",
        "documents",
        "messages",
        "return_assistant_tokens_mask",
        "self",
        "tools",
    }
)


class Conversation(NamedTuple):
    """What a template gets; `continues` leaves the last message open instead of opening a new one."""

    messages: Sequence[Message]
    tools: list[dict[str, Any]] | None
    fields: dict[str, Any]
    continues: bool

    @property
    def continues_reasoning(self) -> bool:
        """Whether the last message has been thought about and nothing of it was said."""
        return self.continues and not self.messages[-1].get("content")


class Rendered(NamedTuple):
    """A prompt; `thinking` says that what follows it is reasoning, and `text` what an echo shows of it."""

    token_ids: list[int]
    thinking: bool = False
    text: str = ""


class Renderer:
    """The templates of one tokenizer. Called from any thread that is not a device's owner."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, family: Family) -> None:
        self._tokenizer = tokenizer
        self._reasoning = family.reasoning
        self._spellings = Spellings(tokenizer, {marker.text for marker in family.markers})
        # A tokenizer is not safe to share: each call first sets its truncation and padding.
        self._one_at_a_time = threading.Lock()

    def render(self, template: str, conversation: Conversation) -> str:
        """The text of a prompt, with marks in it. Raises whatever the template does."""
        messages, tools, fields, continues = conversation
        # No tuple unpacking: the library says that it returns a string.
        texts: Any = templates.render_jinja_template(
            conversations=[self._spellings.marked(messages, template)],
            tools=self._spellings.marked(tools, template),
            chat_template=template,
            add_generation_prompt=not continues,
            continue_final_message=continues
            and ("reasoning_content" if conversation.continues_reasoning else "content"),
            **{**self._tokenizer.special_tokens_map, **self._spellings.marked(fields, template)},
        )
        return cast(str, texts[0][0])

    def encode(self, text: str, *, continues: bool) -> Rendered:
        """The tokens of a text that a template wrote.

        Raises PromptError for a client's text that becomes a control token whatever one does.
        """
        with self._one_at_a_time:
            ids = self._spellings.encode(text)
            return Rendered(ids, self._reasoning is not None and self._is_inside(self._reasoning, ids, text, continues))

    def whole(self, prompt: str | list[int], *, echo: bool) -> Rendered:
        """A prompt that passes through no template: text, behind the token that begins every text, or its tokens."""
        with self._one_at_a_time:
            if isinstance(prompt, str):
                text = whole_characters(prompt)
                return Rendered(self._tokenizer.encode(text), text=text)
            return Rendered(prompt, text=str(self._tokenizer.decode(prompt)) if echo else "")

    def _is_inside(self, reasoning: Span, ids: list[int], text: str, continues: bool) -> bool:
        """Whether the prompt ends behind a beginning of reasoning, with nothing after it unless that is continued."""
        written: str
        if reasoning.begin.token is None or reasoning.end.token is None:
            _, begun, written = text.rpartition(reasoning.begin.text)
            if not begun or reasoning.end.text in written:
                return False
        else:
            since = _behind_last(ids, reasoning.begin.token)
            if since is None or reasoning.end.token in since:
                return False
            written = str(self._tokenizer.decode(since))
        return continues or written.strip() in ("", reasoning.label.strip())


def _behind_last(ids: list[int], token: int) -> list[int] | None:
    """What comes behind the last of these tokens; None where there is none."""
    for at in range(len(ids) - 1, -1, -1):
        if ids[at] == token:
            return ids[at + 1 :]
    return None
