"""Tools of a Responses request: functions, custom tools as functions of one text, namespaces made flat.

What runs on somebody's servers (web search, code interpreter, ...) is left out of the prompt and refused by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from inference.dialects.json_body import decode_part
from inference.dialects.openai.custom_tools import custom_tool
from inference.dialects.responses.names import RESERVED_NAMESPACE, flat_name
from inference.refusals import invalid
from inference.requests import Tool, ToolChoice, ToolUse

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Offered(NamedTuple):
    """How a client knows a tool that the model knows by its flat name."""

    name: str
    namespace: str | None = None
    custom: bool = False


class _Format(msgspec.Struct):
    type: str = "text"
    syntax: str | None = None
    definition: str | None = None


class _Tool(msgspec.Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b"null")
    strict: bool | None = None
    format: msgspec.Raw = msgspec.Raw(b"null")
    tools: list[msgspec.Raw] | None = None


class _Head(msgspec.Struct):
    type: str


class _Named(msgspec.Struct):
    type: str
    name: str | None = None
    namespace: str | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str | None = None
    namespace: str | None = None
    mode: Literal["auto", "required"] = "auto"
    tools: list[_Named] | None = None


_head = msgspec.json.Decoder(_Head)
_tool = msgspec.json.Decoder(_Tool)
_format = msgspec.json.Decoder(_Format | None)
_choice = msgspec.json.Decoder(Literal["none", "auto", "required"] | _Choice | None)


class Toolbox:
    """The tools of a request by their flat names. One that comes again, in a later item say, replaces the former."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}
        self.offered: dict[str, Offered] = {}

    def add(self, tools: Sequence[msgspec.Raw], at: str, *, namespace: str | None = None) -> None:
        """Take in a list of tools. Raises Refusal (400) naming the field that is wrong."""
        for index, raw in enumerate(tools):
            place = f"{at}[{index}]"
            if decode_part(raw, _head, place).type in ("function", "custom", "namespace"):
                self._add_one(decode_part(raw, _tool, place), place, namespace)

    def _add_one(self, tool: _Tool, at: str, namespace: str | None) -> None:
        if not tool.name:
            raise invalid(f"The field `{at}.name` is missing: a tool needs a name.", f"{at}.name")
        if tool.type == "namespace":
            self.add(tool.tools or [], f"{at}.tools", namespace=tool.name)
            return
        name = flat_name(namespace, tool.name)
        if not _NAME.fullmatch(name):
            raise invalid(f"The field `{at}.name` may hold letters, digits, `_` and `-` only.", f"{at}.name")
        custom = tool.type == "custom"
        self._tools[name] = _custom(name, tool, at) if custom else _function(name, tool, at)
        self.offered[name] = Offered(tool.name, None if namespace == RESERVED_NAMESPACE else namespace, custom)

    def use(self, choice: msgspec.Raw, *, parallel: bool) -> ToolUse | None:
        """What the model may call and how. None where there is nothing to call. Raises Refusal (400)."""
        mode, only = self._chosen(choice)
        if not self._tools:
            if mode == "required":
                raise invalid("`tool_choice` asks for a call and there are no tools to call.", "tool_choice")
            return None
        return ToolUse(tools=list(self._tools.values()), choice=mode, only=only, parallel=parallel)

    def _chosen(self, raw: msgspec.Raw) -> tuple[ToolChoice, list[str]]:
        choice = decode_part(raw, _choice, "tool_choice")
        if not isinstance(choice, _Choice):
            return choice or "auto", []
        if choice.type in ("function", "custom"):
            return "required", [self._known(choice, "tool_choice")]
        if choice.type == "allowed_tools":
            places = enumerate(choice.tools or [])
            named = {f"tool_choice.tools[{at}]": tool for at, tool in places if tool.type in ("function", "custom")}
            if not named:
                raise invalid("`tool_choice` allows no tool that is here.", "tool_choice.tools")
            return choice.mode, [self._known(tool, at) for at, tool in named.items()]
        raise invalid(f"A `tool_choice` of type `{choice.type}` is not supported.", "tool_choice.type")

    def _known(self, named: _Named | _Choice, at: str) -> str:
        flat = flat_name(named.namespace, named.name or "")
        if flat not in self._tools:
            raise invalid(f"`{at}` names `{flat}`, which is not among the tools.", f"{at}.name")
        return flat


def _function(name: str, tool: _Tool, at: str) -> Tool:
    parameters = bytes(tool.parameters).decode().strip()
    if parameters == "null":
        return Tool(name, tool.description, strict=bool(tool.strict))
    if not parameters.startswith("{"):
        raise invalid(f"The field `{at}.parameters` must be a JSON schema, an object.", f"{at}.parameters")
    return Tool(name, tool.description, parameters, strict=bool(tool.strict))


def _custom(name: str, tool: _Tool, at: str) -> Tool:
    format_ = decode_part(tool.format, _format, f"{at}.format") or _Format()
    return custom_tool(name, tool.description, syntax=format_.syntax, definition=format_.definition)
