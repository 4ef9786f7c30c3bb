"""The tools of a Messages request, and which of them may or must be called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from inference.dialects.json_body import decode_part
from inference.dialects.messages import body as wire
from inference.dialects.messages.body import ToolChoice
from inference.refusals import invalid
from inference.requests import Tool as OfferedTool
from inference.requests import ToolUse

#: Anthropic's rule for names.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")

#: Types of tools that the client runs; every other is one that Anthropic's servers would.
_CLIENTS_OWN = (None, "custom", "function")


class _Type(msgspec.Struct):
    type: str | None = None


class _Tool(msgspec.Struct):
    """As Anthropic has it, or flat as OpenAI's Responses does."""

    name: str | None = None
    description: str | None = None
    input_schema: Raw = wire.ABSENT
    parameters: Raw = wire.ABSENT
    strict: bool | None = None


class _OpenAITool(msgspec.Struct):
    function: _Tool | None = None


_type = msgspec.json.Decoder(_Type)
_tool = msgspec.json.Decoder(_Tool)
_openai_tool = msgspec.json.Decoder(_OpenAITool)


def tool_use(tools: Sequence[Raw] | None, choice: ToolChoice | None) -> ToolUse | None:
    """None where no tool of the client's is offered. Raises Refusal (400) naming the tool or the choice."""
    offered: dict[str, OfferedTool] = {}
    for index, raw in enumerate(tools or []):
        place = f"tools[{index}]"
        if decode_part(raw, _type, place).type not in _CLIENTS_OWN:
            continue
        tool = _offered(raw, place)
        if tool.name in offered:
            raise invalid(f"`{place}.name`: there are two tools named `{tool.name}`.", f"{place}.name")
        offered[tool.name] = tool
    rule = _rule(choice, offered)
    return ToolUse(tools=list(offered.values()), **rule) if offered else None


def _offered(raw: Raw, at: str) -> OfferedTool:
    """A tool; one whose schema is left out takes any object."""
    if (nested := decode_part(raw, _openai_tool, at).function) is not None:
        tool, at = nested, f"{at}.function"
    else:
        tool = decode_part(raw, _tool, at)
    if not tool.name or not _NAME.fullmatch(tool.name):
        raise invalid(f"`{at}.name` must be 1 to 128 letters, digits, `_` or `-`.", f"{at}.name")
    schema = wire.object_text(tool.input_schema, f"{at}.input_schema")
    schema = schema or wire.object_text(tool.parameters, f"{at}.parameters")
    offered = OfferedTool(name=tool.name, description=tool.description, strict=bool(tool.strict))
    return msgspec.structs.replace(offered, parameters=schema) if schema else offered


def _rule(choice: ToolChoice | None, offered: dict[str, OfferedTool]) -> dict[str, Any]:
    """`choice`, `only` and `parallel` of a ToolUse."""
    if choice is None:
        return {}
    if choice.type in ("any", "tool") and not offered:
        raise invalid(f"`tool_choice` is `{choice.type}`, but no tool is offered that could be called.", "tool_choice")
    if choice.type == "tool" and choice.name is None:
        raise invalid("The field `tool_choice.name` is missing: say which tool.", "tool_choice.name")
    if choice.type == "tool" and choice.name not in offered:
        raise invalid(f"`tool_choice.name` names no tool that is offered: `{choice.name}`.", "tool_choice.name")
    parallel = {"parallel": not choice.disable_parallel_tool_use}
    if choice.type == "tool":
        return {"choice": "required", "only": [choice.name], **parallel}
    return {"choice": "required" if choice.type == "any" else choice.type, **parallel}
