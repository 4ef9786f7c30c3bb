"""Models as Codex asks for them: how to talk to each, and how much it takes (WIRE_APIS 2).

Codex drops the whole list for one entry that lacks a field, and takes its own guess for a model without one: a context
of 272,000 tokens, so that it would never compact what it sends. The fields are those of `ModelInfo` in Codex'
`protocol/src/openai_models.rs`.
"""

from __future__ import annotations

from typing import Any

#: Bytes of a tool's output that go into the conversation: what Codex takes for models that it does not know.
_MOST_OUTPUT_BYTES = 10_000

_LEVELS = {
    "low": "Thinks briefly",
    "medium": "Thinks as long as most tasks need",
    "high": "Thinks long, for hard tasks",
}

#: What a model is told first: Codex sends nothing of its own to a model whose entry it has.
_INSTRUCTIONS = """\
You are a coding agent in a terminal, working with a person in their repository.

- Look before you change anything: read the files that matter, and search with `rg` where it is there.
- Make the smallest change that does what was asked, in the style of the code around it. Leave other changes alone.
- Edit files with the `apply_patch` tool where it is offered. Its input begins with `*** Begin Patch` and ends with
  `*** End Patch`; between them stand `*** Update File: PATH`, `*** Add File: PATH` or `*** Delete File: PATH`, then
  lines that begin with a space, `-` or `+`.
- Run the tests or the program to see that it works. Say plainly what does not, and what you could not try.
- Never delete work, rewrite history or send anything out of this machine unless you were asked to.
- Go on until the task is done. Then say in a few sentences what you changed and why, with paths of files.
"""


def entry(model_id: str, *, priority: int, input_tokens: int, reasoning: bool, tool_call: bool) -> dict[str, Any]:
    """One model. `input_tokens` are the most that a prompt may have: what Codex keeps below."""
    return {
        "slug": model_id,
        "display_name": model_id,
        "description": None,
        "default_reasoning_level": "medium" if reasoning else None,
        "supported_reasoning_levels": [
            {"effort": effort, "description": description} for effort, description in _LEVELS.items() if reasoning
        ],
        "shell_type": "shell_command",
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "upgrade": None,
        "availability_nux": None,
        "base_instructions": _INSTRUCTIONS,
        "supports_reasoning_summaries": reasoning,
        "support_verbosity": False,
        "default_verbosity": None,
        "apply_patch_tool_type": "freeform",
        "truncation_policy": {"mode": "bytes", "limit": _MOST_OUTPUT_BYTES},
        "supports_parallel_tool_calls": tool_call,
        "context_window": input_tokens,
        "experimental_supported_tools": [],
        "input_modalities": ["text"],
    }
