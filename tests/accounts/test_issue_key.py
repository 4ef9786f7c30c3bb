"""`manage.py issue_key`, as a process beside the database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from accounts.accounts import close_account, open_account
from accounts.keys import find_key, parse_peppers
from accounts.models import Account, ApiKey, Budget
from helexa.home import REPOSITORY


def run(*options: str) -> str:
    out = StringIO()
    call_command("issue_key", *options, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
class TestIssueKey:
    def test_it_works(self) -> None:
        printed = json.loads(run("--account", "chemistry", "--json"))
        key = find_key(printed["key"], parse_peppers(settings.HELEXA_KEY_PEPPER))
        assert key is not None
        assert printed == {
            "key": printed["key"],
            "key_id": key.key_id,
            "account": "chemistry",
            "label": "",
            "scope": "inference",
            "models": [],
            "expires": None,
            "cap": None,
            "cap_usd": None,
            "window": None,
        }

    def test_it_takes_every_option(self) -> None:
        options = [
            "--label",
            "nightly",
            "--models",
            "a, b",
            "--expires",
            "2100-01-31T10:00+02:00",
            "--scope",
            "operator",
        ]
        printed = json.loads(run("--account", "chemistry", *options, "--json"))
        assert printed["label"] == "nightly"
        assert printed["models"] == ["a", "b"]
        assert printed["expires"] == "2100-01-31T08:00:00+00:00"
        assert printed["scope"] == "operator"

    def test_it_prints_what_a_client_needs_ready_to_paste(self) -> None:
        told = ["--for", "claude-code", "--url", "https://helexa.example.org/v1/", "--model", "qwen3-4b"]
        printed = json.loads(run("--account", "chemistry", *told, "--json"))
        (paste,) = printed["settings"]
        assert paste["where"] == "shell"
        assert {
            "export ANTHROPIC_BASE_URL=https://helexa.example.org",
            f"export ANTHROPIC_AUTH_TOKEN={printed['key']}",
            "export ANTHROPIC_MODEL=qwen3-4b",
        } <= set(paste["text"].splitlines())

    def test_the_settings_of_a_client_name_the_first_model_of_the_key_and_this_machine(self) -> None:
        printed = run("--account", "chemistry", "--for", "codex", "--models", "qwen3-4b,other")
        (secret,) = (word for word in printed.split() if word.startswith("sk-helexa-"))
        assert f'base_url = "http://127.0.0.1:{settings.HELEXA_PORT}/v1"' in printed
        assert 'model = "qwen3-4b"' in printed
        assert f"export HELEXA_GATEWAY_API_KEY={secret}" in printed

    def test_a_key_gets_caps_of_its_own_and_its_account_others(self) -> None:
        own = ["--cap", "50000", "--cap-usd", "12.5", "--window", "calendar:day@Europe/Berlin"]
        printed = json.loads(run("--account", "chemistry", *own, "--account-cap-usd", "100", "--json"))
        assert (printed["cap"], printed["cap_usd"], printed["window"]) == (50000, "12.50", "calendar:day@Europe/Berlin")
        budgets = Budget.objects.order_by("key", "unit").values_list("key__key_id", "unit", "cap", "window")
        assert set(budgets) == {
            (printed["key_id"], "tokens", 50_000, "day"),
            (printed["key_id"], "nano_usd", 12_500_000_000, "day"),
            (None, "nano_usd", 100_000_000_000, "balance"),
        }

    def test_caps_are_balances_unless_told_otherwise(self) -> None:
        printed = json.loads(run("--account", "chemistry", "--cap", "5", "--json"))
        assert (printed["cap"], printed["cap_usd"], printed["window"]) == (5, None, "balance")

    def test_the_account_of_another_key_gets_its_cap_changed(self) -> None:
        run("--account", "chemistry", "--account-cap", "5")
        run("--account", "chemistry", "--account-cap", "7", "--account-window", "rolling:60")
        budget = Budget.objects.get()
        assert (budget.cap, budget.window, budget.window_seconds) == (7, "rolling", 60)

    def test_people_see_caps_in_words(self) -> None:
        assert "50,000 tokens, reset each day (UTC)" in run(
            "--account", "c", "--cap", "50000", "--window", "calendar:day"
        )
        assert "none of its own" in run("--account", "c")

    def test_neither_a_closed_account_nor_the_house_gets_a_key(self) -> None:
        close_account(open_account("chemistry"))
        for name in ("chemistry", "house"):
            with pytest.raises(CommandError, match=r"^--account: "):
                run("--account", name)
        assert not ApiKey.objects.exists()

    def test_it_uses_the_account_that_is_there(self) -> None:
        run("--account", "chemistry")
        run("--account", "chemistry")
        assert Account.objects.filter(is_house=False).count() == 1
        assert ApiKey.objects.count() == 2

    def test_people_see_the_secret_on_a_line_of_its_own(self) -> None:
        lines = run("--account", "chemistry", "--label", "[bold]nightly", "--expires", "2100-01-31").splitlines()
        assert [line for line in lines if line.startswith("sk-helexa-")]
        assert any("[bold]nightly" in line for line in lines)
        assert any("2100-01-31 00:00 UTC" in line for line in lines)

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (["--account", " "], "--account: An account needs a name."),
            (["--label", "x" * 10_000], "--label: The label has 10000 characters; at most 100 fit."),
            (["--label", "a\x1bb"], "--label: Use one line of text without control characters."),
            (["--scope", "root"], "--scope: 'root' is not a scope; choose inference, account or operator."),
            (["--expires", "soon"], "--expires: 'soon' is no ISO date; write it as 2027-01-31T18:00."),
            (["--expires", "0001-01-01T00:00+14:00"], "--expires: '0001-01-01T00:00+14:00' is no ISO date"),
            (["--expires", "2020-01-01"], "--expires: This expiry has passed"),
            (["--models", ","], "--models: name at least one model"),
            (["--cap", "0"], "--cap: 0 tokens is too little: it must be more than 0."),
            (["--cap", "1.5"], "--cap: '1.5' is not a whole number of tokens; write it as 50000."),
            (["--cap", "nan"], "--cap: 'nan' is not a whole number of tokens; write it as 50000."),
            (["--cap=-1"], "--cap: -1 tokens is too little: it must be more than 0."),
            (["--cap-usd", "NaN"], "--cap-usd: 'NaN' is not an amount in dollars; write it as 12.50."),
            (["--cap-usd", "1e12"], "--cap-usd: 1e12 dollars are too many; the most is 1000000000."),
            (
                ["--account-cap-usd", "0.0000000001"],
                "--account-cap-usd: An amount in dollars has at",
            ),
            (["--window", "balance"], "--window: a window is for a cap; give one as well."),
            (["--account-window", "balance"], "--account-window: a window is for a cap; give one as well."),
            (["--cap", "5", "--window", "rolling:0"], "--window: A rolling window lasts from 1 to 31622400"),
            (["--cap", "5", "--window", "calendar:day@Mars"], "--window: 'Mars' is not a time zone; write it as"),
            (["--account-cap", "5", "--account-window", "weekly"], "--account-window: 'weekly' is not a window; write"),
        ],
    )
    def test_it_rejects_bad_input_naming_the_option_and_leaves_nothing(self, options: list[str], sentence: str) -> None:
        with pytest.raises(CommandError) as refused:
            run("--account", "chemistry", *options)
        assert str(refused.value).startswith(sentence)
        assert not Account.objects.filter(is_house=False).exists()


def process(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command with nothing of helexa's in its environment but what is given."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("HELEXA_", "DATABASE", "REDIS"))}
    return subprocess.run(
        [sys.executable, "manage.py", "issue_key", *options],
        cwd=REPOSITORY,
        env={**bare, "HELEXA_HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_needs_nothing_and_shows_an_example(tmp_path: Path) -> None:
    helped = process(tmp_path, "--help")
    assert helped.returncode == 0
    assert "python manage.py issue_key --account" in helped.stdout


def test_without_a_database_it_says_how_to_get_one(tmp_path: Path) -> None:
    refused = process(tmp_path, "--account", "chemistry", "--json", HELEXA_KEY_PEPPER="pepper")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "start `make up`, or set DATABASE_URL" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "HELEXA_KEY_PEPPER": "pepper"}
    refused = process(tmp_path, "--account", "chemistry", **nowhere)
    assert refused.returncode == 1
    assert refused.stderr == "CommandError: The database does not answer: start `make up`, or correct DATABASE_URL.\n"
