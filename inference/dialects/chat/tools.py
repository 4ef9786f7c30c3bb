"""The tools of a Chat Completions request, and which of them may or must be called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from inference.dialects.chat.body import Custom, Function, ToolChoice, ToolName
from inference.dialects.chat.body import Tool as WireTool
from inference.dialects.openai.custom_tools import custom_tool
from inference.refusals import Refusal, invalid
from inference.requests import Tool, ToolUse

#: OpenAI's rule for names.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def tool_use(
    tools: Sequence[WireTool] | None,
    choice: Literal["none", "auto", "required"] | ToolChoice | None,
    *,
    parallel: bool,
) -> ToolUse | None:
    """None where nothing is offered that could be called. Raises Refusal (400) naming the tool or the choice.

    What runs on somebody's servers (web search, say) is left out of the prompt, and refused by nobody.
    """
    offered: dict[str, Tool] = {}
    for index, tool in enumerate(tools or []):
        place = f"tools[{index}]"
        if tool.type not in ("function", "custom"):
            continue
        one = _custom(tool.custom, f"{place}.custom") if tool.type == "custom" else _function(tool.function, place)
        if one.name in offered:
            at = f"{place}.{tool.type}.name"
            raise invalid(f"`{at}`: there are two tools named `{one.name}`.", at)
        offered[one.name] = one
    if not isinstance(choice, ToolChoice):
        if choice == "required" and not offered:
            raise invalid("`tool_choice` is `required`, but no tool is offered that could be called.", "tool_choice")
        return ToolUse(tools=list(offered.values()), choice=choice or "auto", parallel=parallel) if offered else None
    mode, only = _chosen(choice, offered)
    return ToolUse(tools=list(offered.values()), choice=mode, only=only, parallel=parallel)


def custom_names(tools: Sequence[WireTool] | None) -> frozenset[str]:
    """The tools whose calls are given back as a text, not as arguments."""
    return frozenset(tool.custom.name for tool in tools or [] if tool.type == "custom" and tool.custom)


def _function(function: Function | None, place: str) -> Tool:
    at = f"{place}.function"
    if function is None:
        raise invalid(f"The field `{at}` is missing: a function tool needs one.", at)
    _require_name(function.name, at)
    strict = bool(function.strict)
    schema = bytes(function.parameters).decode().strip()
    if schema == "null":
        return Tool(function.name, function.description, strict=strict)
    if not schema.startswith("{"):
        raise invalid(f"The field `{at}.parameters` must be a JSON schema, an object.", f"{at}.parameters")
    return Tool(function.name, function.description, schema, strict)


def _custom(custom: Custom | None, at: str) -> Tool:
    if custom is None:
        raise invalid(f"The field `{at}` is missing: a custom tool needs one.", at)
    _require_name(custom.name, at)
    grammar = custom.format.grammar if custom.format else None
    if custom.format and custom.format.type == "grammar" and grammar is None:
        raise invalid(f"The field `{at}.format.grammar` is missing.", f"{at}.format.grammar")
    return custom_tool(
        custom.name,
        custom.description,
        syntax=grammar.syntax if grammar else None,
        definition=grammar.definition if grammar else None,
    )


def _require_name(name: str, at: str) -> None:
    if not _NAME.fullmatch(name):
        raise invalid(f"`{at}.name` must be 1 to 64 letters, digits, `_` or `-`.", f"{at}.name")


def _chosen(choice: ToolChoice, offered: dict[str, Tool]) -> tuple[Literal["auto", "required"], list[str]]:
    """Whether the model must call, and the names of what it may."""
    if choice.type != "allowed_tools":
        return "required", [_offered_name(choice, offered, "tool_choice")]
    allowed = choice.allowed_tools
    if allowed is None:
        raise invalid("The field `tool_choice.allowed_tools` is missing.", "tool_choice.allowed_tools")
    place = "tool_choice.allowed_tools.tools"
    names = [_offered_name(tool, offered, f"{place}[{index}]") for index, tool in enumerate(allowed.tools)]
    if not names:
        raise invalid(f"`{place}` is empty: no tool could be called.", place)
    return allowed.mode, names


def _offered_name(tool: ToolName, offered: dict[str, Tool], at: str) -> str:
    if tool.type not in ("function", "custom"):
        raise invalid(f"`{at}.type` is `{tool.type}`, which is not supported.", f"{at}.type")
    named = tool.custom if tool.type == "custom" else tool.function
    if named is None:
        raise _missing(f"{at}.{tool.type}")
    if named.name not in offered:
        place = f"{at}.{tool.type}.name"
        raise invalid(f"`{place}` names no tool that is offered: `{named.name}`.", place)
    return named.name


def _missing(place: str) -> Refusal:
    return invalid(f"The field `{place}` is missing.", place)
