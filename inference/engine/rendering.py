"""A chat template applied: text that a template and a client wrote, and the tokens of it.

The sandbox is transformers'. What a client spells never becomes a control token: such spellings are marked before the
template sees them, and encoded as the ordinary text they are.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from transformers import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils as templates

from inference.engine.conversations import PromptError
from inference.engine.families import Family, Span
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
#: What the library puts around a control token that a client spells; a template may leave one of the two.
_MARKS = re.compile("[{0}{2}]".format(*templates.mark_control_tokens("x", re.compile("x"))))


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
        self._markers = {marker.text for marker in family.markers}
        self._controls: dict[str, re.Pattern[str]] = {}
        # A tokenizer is not safe to share: each call first sets its truncation and padding.
        self._one_at_a_time = threading.Lock()

    def render(self, template: str, conversation: Conversation) -> str:
        """The text of a prompt, with marks in it. Raises whatever the template does."""
        messages, tools, fields, continues = conversation
        controls = self._controls_of(template)
        # No tuple unpacking: the library says that it returns a string.
        texts: Any = templates.render_jinja_template(
            conversations=[_marked(messages, controls)],
            tools=_marked(tools, controls),
            chat_template=template,
            add_generation_prompt=not continues,
            continue_final_message=continues
            and ("reasoning_content" if conversation.continues_reasoning else "content"),
            **{**self._tokenizer.special_tokens_map, **_marked(fields, controls)},
        )
        return cast(str, texts[0][0])

    def encode(self, text: str, *, continues: bool) -> Rendered:
        """The tokens of a text that a template wrote.

        Raises PromptError for a client's text that becomes a control token whatever one does.
        """
        with self._one_at_a_time:
            ids = self._encode(text)
            return Rendered(ids, self._reasoning is not None and self._is_inside(self._reasoning, ids, text, continues))

    def _encode(self, text: str) -> list[int]:
        if not _MARKS.search(text):
            return cast(list[int], self._tokenizer.encode(text, add_special_tokens=False))
        try:
            return templates.encode_marked_chat(self._tokenizer, text)
        except ValueError as fault:
            raise PromptError("messages", f"The messages spell a control token of this model: {fault}.") from fault

    def whole(self, prompt: str | list[int], *, echo: bool) -> Rendered:
        """A prompt that passes through no template: text, behind the token that begins every text, or its tokens."""
        with self._one_at_a_time:
            if isinstance(prompt, str):
                text = _text(prompt)
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

    def _controls_of(self, template: str) -> re.Pattern[str]:
        """What a client may not spell as tokens: special ones, those the template writes, and the family's markers."""
        if template not in self._controls:
            spelled = {
                token.content
                for token in self._tokenizer.added_tokens_decoder.values()
                if token.special
                or token.content in self._markers
                or (token.content in template and not token.content.isspace())
            }
            longest_first = sorted(spelled, key=len, reverse=True)
            self._controls[template] = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        return self._controls[template]


def _behind_last(ids: list[int], token: int) -> list[int] | None:
    """What comes behind the last of these tokens; None where there is none."""
    for at in range(len(ids) - 1, -1, -1):
        if ids[at] == token:
            return ids[at + 1 :]
    return None


def _marked(value: Any, controls: re.Pattern[str]) -> Any:
    """The same with control tokens marked, in keys too, which are a client's where they name an argument."""
    if isinstance(value, str):
        return templates.mark_control_tokens(_text(value), controls)
    if isinstance(value, dict):
        return {_marked(key, controls): _marked(inner, controls) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(inner, controls) for inner in value]
    return value


def _text(value: str) -> str:
    """Half a surrogate pair is no character, and no tokenizer takes it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value
