"""From messages to the tokens that a model reads: chat template, then tokenizer."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from transformers import PreTrainedTokenizerBase

from inference.requests import Message

logger = logging.getLogger(__name__)

DEFAULT_TEMPLATE = (Path(__file__).parent / "default_template.jinja").read_text()


class Prompts:
    """Renders and tokenizes the prompts of one model. Called from any thread that is not a device's owner."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model_id: str) -> None:
        self._tokenizer = tokenizer
        self._model_id = model_id
        # A tokenizer is not safe to share: each call first sets its truncation and padding.
        self._one_at_a_time = threading.Lock()
        self.chat_template: Literal["model", "default"] = "model" if tokenizer.chat_template else "default"
        if self.chat_template == "default":
            logger.warning("%s has no chat template of its own: it gets the plain default one", model_id)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The prompt's tokens, up to and including the opening of the answer."""
        ready = [with_argument_objects(message) for message in with_one_system_message(messages)]
        if self.chat_template == "model":
            try:
                return self._apply(ready, None)
            except Exception as fault:
                logger.warning(
                    "%s: its chat template failed (%s): the plain default one is used", self._model_id, fault
                )
        return self._apply(ready, DEFAULT_TEMPLATE)

    def encode_text(self, prompt: str) -> list[int]:
        """The tokens of a prompt that is whole as it is, behind the token that begins every text of the model's."""
        with self._one_at_a_time:
            return cast(list[int], self._tokenizer.encode(prompt))

    def _apply(self, messages: list[Message], template: str | None) -> list[int]:
        """transformers renders in a sandbox. The spelling of a control token in a client's text stays ordinary text."""
        with self._one_at_a_time:
            ids = self._tokenizer.apply_chat_template(
                messages,
                chat_template=template,
                add_generation_prompt=True,
                sanitize_control_tokens=True,
                return_dict=False,
            )
        return cast(list[int], ids)


def with_one_system_message(messages: Sequence[Message]) -> list[Message]:
    """Fold every system and developer message into one in front: templates reject any other place."""
    system = [message for message in messages if message["role"] in ("system", "developer")]
    if not system:
        return list(messages)
    text = "\n\n".join(message["content"] for message in system if message.get("content"))
    others = [message for message in messages if message["role"] not in ("system", "developer")]
    return [{"role": "system", "content": text}, *others]


def with_argument_objects(message: Message) -> Message:
    """Tool-call arguments that came as JSON strings become objects, as templates expect them."""
    if not message.get("tool_calls"):
        return message
    return {**message, "tool_calls": [_with_arguments_object(call) for call in message["tool_calls"]]}


def _with_arguments_object(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function", {})
    if not isinstance(function.get("arguments"), str):
        return call
    return {**call, "function": {**function, "arguments": arguments_object(function["arguments"])}}


def arguments_object(text: str) -> dict[str, Any]:
    """The object that a string of arguments spells; nothing is `{}`, and what is no object is kept under `_raw`."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"_raw": text}
