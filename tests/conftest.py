"""Fixtures for every test. The servers themselves are started by tests/servers.py."""

from __future__ import annotations

import pytest
import redis
from django.conf import settings
from pytest_django import Settings


@pytest.fixture
def redis_url() -> str:
    """A Redis database of this worker's own, empty before the test."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
    return settings.REDIS_URL


@pytest.fixture(autouse=True)
def cheap_passwords(settings: Settings) -> None:
    """A real password hash takes most of a second, on purpose; a test that makes a user need not wait for it."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
