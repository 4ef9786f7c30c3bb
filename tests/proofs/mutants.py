"""`make proof-mutants`: what keeps caps from being overspent is removed, one thing at a time, and a test must fail.

    python -m tests.proofs.mutants --only locks

Works on copies of the repository. Exit status 1 if a mutant survives.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from helexa.home import REPOSITORY

BOOKS = ("tests/accounts/booking",)
ENGINE = ("tests/engine/requests/test_grants.py",)
#: Everything that is imported or read by these tests.
PARTS = ("accounts", "fleet", "helexa", "inference", "templates", "tests", "manage.py", "pyproject.toml")


@dataclass(frozen=True)
class Mutant:
    """What is removed: `old` becomes `new` in a file, and one of `tests` must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: Sequence[str]


MUTANTS = (
    Mutant(
        "locks of budgets",
        "accounts/booking/statements.py",
        "key_id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE",
        "key_id = ANY(%s::bigint[]) ORDER BY id",
        BOOKS,
    ),
    Mutant(
        "locks of entries that are refunded",
        "accounts/booking/statements.py",
        "WHERE {_USAGE} ORDER BY id FOR UPDATE",
        "WHERE {_USAGE} ORDER BY id",
        BOOKS,
    ),
    Mutant(
        "the conditional close",
        "accounts/booking/statements.py",
        "WHERE r.id = ANY(%s::uuid[]) AND r.state = %s RETURNING",
        "WHERE r.id = ANY(%s::uuid[]) AND %s <> '' RETURNING",
        BOOKS,
    ),
    Mutant(
        "the engine's grant check before prefill",
        "inference/grants.py",
        "if request.granted is None or needed <= request.granted:",
        "if True:",
        ENGINE,
    ),
    Mutant(
        "the engine's hard stop at its grant",
        "inference/grants.py",
        "    if request.granted is None:\n        return bound\n",
        "    if True:\n        return bound\n",
        ENGINE,
    ),
)


def failing_tests(mutant: Mutant) -> list[str]:
    """The names of the tests that fail with this mutant; empty if it survives."""
    with tempfile.TemporaryDirectory(prefix="helexa-mutant-") as folder:
        copy = Path(folder) / "helexa"
        copy.mkdir()
        for part in PARTS:
            source = REPOSITORY / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / part)
        file = copy / mutant.file
        text = file.read_text()
        assert text.count(mutant.old) == 1, f"{mutant.file} has no single {mutant.old!r} any more"
        file.write_text(text.replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no", "-rfE", *mutant.tests]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), done.stdout + done.stderr
        return [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make proof-mutants", description="Show that removing what protects the caps makes a test fail."
    )
    parser.add_argument("--only", default="", help="those whose name contains this")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    survivors = 0
    for mutant in MUTANTS:
        if options.only in mutant.name:
            failing = failing_tests(mutant)
            survivors += not failing
            verdict = f"{len(failing)} tests fail" if failing else "IT SURVIVES"
            console.print(f"without {mutant.name}: {verdict}")
            for name in failing:
                console.print(f"  {name}", markup=False)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
