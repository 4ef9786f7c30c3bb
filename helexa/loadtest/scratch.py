"""A database and a Redis number of the load test's own, on the servers that are there; both are gone after it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import psycopg
import redis
from psycopg import sql

from helexa.home import StartError

#: Tests and installations use lower ones; a server of fewer numbers is tried from its highest down.
REDIS_NUMBERS = (*range(48, 64), *range(15, 0, -1))
#: Says that somebody uses a number, so that two load tests that start together do not share it.
CLAIM = "helexa:loadtest"


@contextmanager
def scratch_database(url: str) -> Iterator[str]:
    """The URL of a new, empty database on the server of `url`. Raises StartError where it cannot be made."""
    name = f"helexa_loadtest_{secrets.token_hex(4)}"
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise StartError(
            "The role of DATABASE_URL may not create a database for the load test: "
            "give it CREATEDB, or unset DATABASE_URL and REDIS_URL to measure with embedded servers."
        ) from error
    except psycopg.OperationalError as error:
        raise StartError(f"PostgreSQL cannot be used ({str(error).strip()}): check DATABASE_URL.") from error
    try:
        yield joined(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
            drop_database(connection, name)


def drop_database(connection: psycopg.Connection[Any], name: str) -> None:
    """Drop it with whatever of ours is still connected to it.

    Not by `WITH (FORCE)`, which fails where an autovacuum is at work: a role like ours may not end one. A plain drop
    tells it to go, and waits.
    """
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = current_user", [name]
    )
    connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@contextmanager
def scratch_redis(url: str) -> Iterator[str]:
    """The URL of an empty number on the server of `url`. Raises StartError where there is none."""
    for number in REDIS_NUMBERS:
        scratch = with_number(url, number)
        with redis.Redis.from_url(scratch, socket_timeout=5, socket_connect_timeout=2) as client:
            if not _claim(client):
                continue
            try:
                yield scratch
            finally:
                client.flushdb()
            return
    raise StartError(
        "Redis has no empty database number left: set REDIS_URL to another server, "
        "or unset DATABASE_URL and REDIS_URL to measure with embedded ones."
    )


def _claim(client: redis.Redis) -> bool:
    try:
        if not client.set(CLAIM, os.getpid(), nx=True):
            return False
        if client.dbsize() == 1:
            return True
        client.delete(CLAIM)
    except redis.ResponseError:  # a server of fewer numbers
        return False
    except redis.RedisError as error:
        raise StartError(f"Redis cannot be used ({error}): check REDIS_URL.") from error
    return False


def with_number(url: str, number: int) -> str:
    """The same server, another database number; in a URL it stands in the path, or in the query of a socket's."""
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "db"]
    if parts.scheme == "unix":
        return joined(parts._replace(query=urlencode([*query, ("db", number)])))
    return joined(parts._replace(path=f"/{number}", query=urlencode(query)))


def joined(parts: SplitResult) -> str:
    """The URL of its parts; `geturl` would drop the slashes of one without a host, say a socket's."""
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else "")


def answers(database_url: str, redis_url: str) -> bool:
    """Whether both servers are there now."""
    try:
        with redis.Redis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=2) as client:
            return has_database(database_url) and bool(client.ping())
    except redis.RedisError:
        return False


def has_database(url: str) -> bool:
    """Whether PostgreSQL is there now."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
