"""What Django's own checks say of the settings, each way they can be run."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

from helexa.home import REPOSITORY


def check(*options: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", "check", *options],
        cwd=REPOSITORY,
        env={**os.environ, "HELEXA_SECRET_KEY": secrets.token_urlsafe(48), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_check_is_clean_and_says_nothing_else() -> None:
    assert check() == "System check identified no issues (0 silenced).\n"


def test_check_deploy_is_clean_behind_a_proxy() -> None:
    said = check("--deploy", "--fail-level", "WARNING", HELEXA_TRUST_PROXY="true")
    assert said == "System check identified no issues (0 silenced).\n"
