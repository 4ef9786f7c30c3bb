"""The pages of clients say what `issue_key` prints: both come from one declaration."""

from __future__ import annotations

import json
import tomllib

import pytest

from accounts.client_settings import CLIENTS, settings_for
from tests.documents.test_documents import REPOSITORY

PAGES = REPOSITORY / "docs" / "clients"
INDEX = (PAGES / "README.md").read_text()
EXAMPLE = {"url": "https://helexa.example.org", "key": "sk-helexa-...", "model": "qwen3-4b"}


def test_every_client_has_a_page_and_every_page_a_client() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} - {"README", "ran"} == set(CLIENTS)


@pytest.mark.parametrize("client", CLIENTS)
def test_the_page_of_a_client_shows_its_settings_as_they_are_printed(client: str) -> None:
    page = (PAGES / f"{client}.md").read_text()
    assert f"--for {client}`" in page
    for paste in settings_for(client, **EXAMPLE):
        assert f"```{paste.language}\n{paste.text}\n```" in page
    assert f"]({client}.md)" in INDEX


@pytest.mark.parametrize("client", CLIENTS)
def test_nothing_is_left_to_be_filled_in_and_files_can_be_read(client: str) -> None:
    for paste in settings_for(client, **EXAMPLE):
        assert "<" not in paste.text
        assert EXAMPLE["model"] in paste.text or EXAMPLE["key"] in paste.text or EXAMPLE["url"] in paste.text
        if paste.language == "json":
            json.loads(paste.text)
        elif paste.language == "toml":
            tomllib.loads(paste.text)
        elif paste.language == "python":
            compile(paste.text, client, "exec")
