"""How a model thinks and calls, told from its template and its tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.engine.families import CallForm, Family, family_of

TEMPLATES = Path(__file__).parents[1] / "templates"


def family(name: str, **added_tokens: int) -> Family:
    return family_of((TEMPLATES / f"{name}.jinja").read_text(), added_tokens)


@pytest.mark.parametrize(
    ("template", "form"),
    [
        ("qwen2.5", CallForm.JSON),
        ("qwen3", CallForm.JSON),
        ("qwen3-coder", CallForm.XML),
        ("qwen3.8", CallForm.XML),
        ("llama3.1", CallForm.LLAMA),
        ("llama3.2", CallForm.LLAMA),
        ("mistral-v0.3", CallForm.MISTRAL),
        ("mistral-nemo", CallForm.MISTRAL),
        ("mistral-args", CallForm.MISTRAL),
        ("gemma4", CallForm.GEMMA),
    ],
)
def test_a_template_that_shows_tools_tells_how_its_model_calls(template: str, form: CallForm) -> None:
    assert (family(template).calls.form, family(template).declared) == (form, True)


@pytest.mark.parametrize("template", ["gemma3", "phi3", "deepseek-r1-distill"])
def test_a_template_without_tools_is_asked_for_json(template: str) -> None:
    assert (family(template).calls.form, family(template).declared) == (CallForm.JSON, False)


def test_without_a_template_calls_are_asked_for_in_json() -> None:
    assert family_of("", {}) == family_of("{{ messages }}", {})
    assert family_of("", {}).calls.form is CallForm.JSON


@pytest.mark.parametrize(
    ("template", "begin"),
    [
        ("qwen3", "<think>"),
        ("deepseek-r1-distill", "<think>"),
        ("mistral-args", "[THINK]"),
        ("gemma4", "<|channel>"),
        ("qwen2.5", None),
        ("llama3.1", None),
    ],
)
def test_a_template_that_marks_reasoning_tells_where_it_begins(template: str, begin: str | None) -> None:
    reasoning = family(template).reasoning
    assert (reasoning.begin.text if reasoning else None) == begin


def test_a_marker_that_is_a_token_of_its_own_has_its_id() -> None:
    template = (TEMPLATES / "qwen3.jinja").read_text()
    told = family_of(template, {"<think>": 7, "<tool_call>": 8, "</tool_call>": 9})
    assert told.calls.end
    assert told.reasoning
    assert (told.calls.begin.token, told.calls.end.token) == (8, 9)
    assert (told.reasoning.begin.token, told.reasoning.end.token) == (7, None)


def test_a_tokenizer_that_can_mark_reasoning_is_enough() -> None:
    assert family_of("{{ messages }}", {"<think>": 1}).reasoning
