"""Fixtures for every test. The servers themselves are started by tests/servers.py."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection
from django.db.backends.base.creation import TEST_DATABASE_PREFIX
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import HealthCheck
from hypothesis import settings as examples
from pytest_django import Settings

from helexa.loadtest.scratch import drop_database

HERE = Path(__file__).parent

# For models this small a second thread only waits, and where workers share the cores it spins: 60 times slower. Set
# before torch is imported, and inherited by every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# By itself httpx gives up after five seconds, which a busy machine may take for anything.
DEFAULT_TIMEOUT_CONFIG.read = DEFAULT_TIMEOUT_CONFIG.connect = 60.0

# A run judges a change by the same examples as the run before it, and not by how long they take. Who asks for a number
# of examples explores.
examples.register_profile(
    "helexa",
    derandomize="HELEXA_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
examples.load_profile("helexa")

#: Folders whose tests share one helexa: all of a folder run on one worker. Their marks are declared in pyproject.toml.
SHARED = {"stack": "stack", "failures": "stack", "proofs": "stack", "browser": "browser"}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in SHARED:
            item.add_marker(getattr(pytest.mark, SHARED[folder]))
            item.add_marker(pytest.mark.xdist_group(folder))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test is named as it can be asked for; xdist writes its group behind that."""
    name, _, group = report.nodeid.rpartition("@")
    if group in SHARED and hasattr(report, "node"):  # it has come from a worker
        report.nodeid = name


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


@pytest.fixture(scope="session")
def template_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The name of Django's test database. pytest-django makes one only where a test carries its mark."""
    made_here = not connection.settings_dict["NAME"].startswith(TEST_DATABASE_PREFIX)
    with django_db_blocker.unblock():
        name = connection.settings_dict["NAME"]
        if made_here:
            connection.creation.create_test_db(verbosity=0, autoclobber=True)
        yield connection.settings_dict["NAME"]
        if made_here:
            connection.creation.destroy_test_db(name, verbosity=0)


@pytest.fixture
def fresh_database(template_database: str, django_db_blocker: Any) -> Iterator[str]:
    """The URL of a migrated database of the test's own, which Django uses too; what it commits is really committed.

    The ledger refuses to be emptied, so a database cannot be cleaned for the next test: it is copied from a template
    and dropped afterwards.
    """
    template = template_database
    name = f"{template}_{secrets.token_hex(4)}"
    server = urlsplit(settings.DATABASE_URL)
    with django_db_blocker.unblock():
        connection.close()  # a template may have no visitors
        with psycopg.connect(urlunsplit(server._replace(path="/postgres")), autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
            connection.settings_dict["NAME"] = name
            try:
                yield urlunsplit(server._replace(path=f"/{name}"))
            finally:
                connection.close()
                connection.settings_dict["NAME"] = template
                drop_database(admin, name)
