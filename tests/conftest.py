"""Fixtures for every test. The servers themselves are started by tests/servers.py."""

from __future__ import annotations

import pytest
import redis
from django.conf import settings


@pytest.fixture
def redis_url() -> str:
    """A Redis database of this worker's own, empty before the test."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
    return settings.REDIS_URL
