"""The folder of one installation: private where it must be, and for one `up` at a time."""

from __future__ import annotations

import os
import stat

import pytest

from helexa.home import Home, ServerUrls, StartError


def test_secrets_are_made_once_and_private(home: Home) -> None:
    made = home.make_secret("api_key", prefix="sk-helexa-")
    assert made.startswith("sk-helexa-")
    assert home.make_secret("api_key") == home.secret("api_key") == made
    assert stat.S_IMODE(home.secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE((home.secrets / "api_key").stat().st_mode) == 0o600


def test_addresses_are_found_by_others(home: Home) -> None:
    assert home.server_urls() is None
    urls = ServerUrls("postgresql://helexa:x@127.0.0.1:1/helexa", "redis://:y@127.0.0.1:2/0")
    home.publish_server_urls(urls)
    assert home.server_urls() == urls


def test_a_second_up_in_the_same_home_is_told_who_holds_it(home: Home) -> None:
    home.make()
    with home.locked(), pytest.raises(StartError, match=rf"already used by a running `up` \(process {os.getpid()}\)"):
        home.locked().__enter__()
    with home.locked():
        pass
