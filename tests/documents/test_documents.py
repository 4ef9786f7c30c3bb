"""What README and docs/ name is there: settings, commands, targets of make, files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from django.core.management import get_commands

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
SETTING = re.compile(r"\b(?:HELEXA_[A-Z_]+|DATABASE_URL|REDIS_URL)\b")
OURS = ("helexa", "accounts", "fleet", "inference")


def rows_of(heading: str) -> list[str]:
    """The first cells of the table under a heading of the README."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]


def paths() -> list[str]:
    """Every file and folder of the repository that a document may name, without what is installed or generated."""
    folders = [REPOSITORY / name for name in (*OURS, "docs", "templates", "tests", ".ci")]
    files = [path for folder in folders for path in (folder, *folder.rglob("*"))] + list(REPOSITORY.glob("*"))
    return [f"/{path.relative_to(REPOSITORY)}{'/' if path.is_dir() else ''}" for path in files]


def sources() -> str:
    return "\n".join(path.read_text() for app in OURS for path in sorted((REPOSITORY / app).rglob("*.py")))


def test_the_readme_lists_every_setting_and_no_other() -> None:
    read = re.compile(r"""(?:env\.\w+|environ\.get|getenv)\(\s*["']([A-Z_]+)["']""")
    known = {name for name in read.findall(sources()) if SETTING.fullmatch(name)}
    # What a process tells its own parts through the environment is no setting.
    known -= {"HELEXA_GATEWAY_URL"}
    assert {name for row in rows_of("Settings") for name in SETTING.findall(row)} == known


def test_the_readme_lists_every_command_and_no_other() -> None:
    commands = {name for name, app in get_commands().items() if app in OURS}
    assert {re.findall(r"[a-z_]+", row)[0] for row in rows_of("Commands")} == commands


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_a_document_names_exists(document: Path) -> None:
    named = re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|toml|md)|(?:\.?\w+/)+)`", document.read_text())
    outside = {"secrets/", "logs/", "models/", "servers/", "run/"}  # folders of HELEXA_HOME
    known = paths()
    assert [
        name for name in named if name not in outside and not any(path.endswith(f"/{name}") for path in known)
    ] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_make_alone_explains_every_target_that_the_documents_name() -> None:
    listed = subprocess.run(["make"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    targets = set(re.findall(r"^  ([a-z-]+) ", listed, re.MULTILINE))
    named = {target for path in DOCUMENTS for target in re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(), re.M)}
    assert {"help", "up", "test", "lint", "fmt"} | named <= targets
