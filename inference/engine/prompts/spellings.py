"""Control tokens that clients spell in their texts: marked before a template runs, and encoded as ordinary text after.

transformers does the same (`sanitize_control_tokens`), but not in keys, and in 50 microseconds for each `<` where a
tokenizer has thousands of such tokens; nobody else computes while a regular expression runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from transformers import PreTrainedTokenizerBase

from inference.engine.prompts.conversations import PromptError

#: Around what a client spells; characters that nobody uses, and that are taken out of whatever comes.
_BEGIN, _END = "\U000f0000", "\U000f0001"
_MARK = re.compile(f"([{_BEGIN}{_END}])")


class Spellings:
    """Of one tokenizer. Not to be called by two threads at once, `marked` excepted."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, markers: Collection[str]) -> None:
        self._tokenizer = tokenizer
        self._added = tokenizer.get_added_vocab()
        self._always = {
            token.content for token in tokenizer.added_tokens_decoder.values() if token.special
        } | self._added.keys() & set(markers)
        self._controls: dict[str, re.Pattern[str]] = {}
        self._as_text: dict[str, list[int]] = {}

    def marked(self, value: Any, template: str) -> Any:
        """The same texts, lists and objects with control tokens marked, in keys too, where they name arguments.

        Those are the special ones, those that the template writes, and the markers of the family.
        """
        return _marked(value, self._controls_of(template))

    def encode(self, text: str) -> list[int]:
        """The tokens of what a template made of marked texts.

        A template may part the marks of a spelling; what is left of it is text in any case. Raises PromptError for a
        spelling that the tokenizer makes the token of whatever one does.
        """
        if not _MARK.search(text):
            return self._encoded([text])[0]
        parts = _MARK.split(text)
        texts, marks = parts[::2], ["", *parts[1::2], ""]
        is_spelled = [
            (marks[at], marks[at + 1]) == (_BEGIN, _END) and part in self._added for at, part in enumerate(texts)
        ]
        plain = iter(
            self._encoded_behind([part for part, spelled in zip(texts, is_spelled, strict=True) if not spelled])
        )
        ids: list[int] = []
        for part, spelled in zip(texts, is_spelled, strict=True):
            ids += self._spelled(part) if spelled else next(plain)
        return ids

    def _controls_of(self, template: str) -> re.Pattern[str]:
        if template not in self._controls:
            written = {token for token in self._added if token in template and not token.isspace()}
            self._controls[template] = re.compile(_any_of(self._always | written))
        return self._controls[template]

    def _encoded(self, texts: list[str]) -> list[list[int]]:
        found: list[list[int]] = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return found

    def _encoded_behind(self, texts: list[str]) -> list[list[int]]:
        """Pieces of one text, each as if it stood in its midst.

        So all but the first stand behind a line break, which is taken off again: at a start SentencePiece adds a space.
        """
        first, *others = texts
        newline, begun, *behind = self._encoded(["\n", first, *("\n" + other for other in others)])
        odd = [at for at, ids in enumerate(behind) if ids[: len(newline)] != newline]
        alone = dict(zip(odd, self._encoded([others[at] for at in odd]) if odd else [], strict=True))
        return [begun, *(alone.get(at, ids[len(newline) :]) for at, ids in enumerate(behind))]

    def _spelled(self, token: str) -> list[int]:
        """The tokens of a control token's spelling, without itself among them."""
        if token not in self._as_text:
            newline, ids = self._without_added_tokens("\n"), self._without_added_tokens("\n" + token)
            ids = ids[len(newline) :] if ids[: len(newline)] == newline else self._without_added_tokens(token)
            if self._added[token] in ids:
                raise PromptError("messages", f"The messages spell {token!r}, which is no text to this model.")
            self._as_text[token] = ids
        return self._as_text[token]

    def _without_added_tokens(self, text: str) -> list[int]:
        backend = self._tokenizer.backend_tokenizer
        if backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        splits = [text]
        if backend.pre_tokenizer is not None:
            splits = [split for split, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
        return [token.id for split in splits for token in backend.model.tokenize(split)]


def whole_characters(text: str) -> str:
    """Half a surrogate pair is no character, and no tokenizer takes it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _marked(value: Any, controls: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return controls.sub(f"{_BEGIN}\\g<0>{_END}", _MARK.sub("", whole_characters(value)))
    if isinstance(value, dict):
        return {_marked(key, controls): _marked(inner, controls) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(inner, controls) for inner in value]
    return value


def _any_of(words: Iterable[str]) -> str:
    """A pattern of the longest of these words that fits, as a tree of their letters: no letter is looked at twice."""
    tree: dict[str, Any] = {}
    for word in words:
        node = tree
        for letter in word:
            node = node.setdefault(letter, {})
        node[""] = {}
    return _branches(tree) or "(?!)"


def _branches(node: dict[str, Any]) -> str:
    branches = [re.escape(letter) + _branches(child) for letter, child in sorted(node.items()) if letter]
    if not branches:
        return ""
    return f"(?:{'|'.join(branches)}){'?' if '' in node else ''}"
