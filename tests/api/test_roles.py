"""The table of roles in docs/people.md is the one that the gate asks."""

from __future__ import annotations

from pathlib import Path

from accounts.models import ApiKey
from accounts.roles import SCOPES, TABLE, Action, Reach, Role, reach

PEOPLE = Path(__file__).resolve().parents[2] / "docs" / "people.md"
WORDS = {"yes": Reach.ALL, "own": Reach.OWN, "-": Reach.NONE}


def documented() -> dict[tuple[str, str], Reach]:
    """(action, role) to how far it goes, from the first table of the document."""
    lines = [line for line in PEOPLE.read_text().split("\n## ")[0].splitlines() if line.startswith("| ")]
    (_, *roles), *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(action, role): WORDS[word] for action, *words in rows for role, word in zip(roles, words, strict=True)}


def test_the_document_shows_the_table() -> None:
    assert documented() == {(action.value, role.value): reach(role, action) for action in Action for role in Role}


def test_the_table_has_every_action() -> None:
    assert set(TABLE) == set(Action)


def test_an_auditor_only_sees() -> None:
    assert {action for action in Action if reach(Role.AUDITOR, action)} == {
        action for action in Action if action.name.startswith("SEE_") and action is not Action.SEE_FLEET
    }


def test_nobody_but_operators_makes_keys_of_operators() -> None:
    assert [role for role, scopes in SCOPES.items() if ApiKey.Scope.OPERATOR in scopes] == [Role.OPERATOR]
