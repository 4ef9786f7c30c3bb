from __future__ import annotations

import psycopg
import pytest
import redis
from django.conf import settings

from helexa.home import StartError
from helexa.loadtest.scratch import CLAIM, answers, scratch_database, scratch_redis, with_number


def test_a_scratch_database_is_empty_and_gone_after_it_also_while_somebody_is_connected() -> None:
    with scratch_database(settings.DATABASE_URL) as url:
        left_open = psycopg.connect(url)
        tables = left_open.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert tables == (0,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)
    left_open.close()


def test_two_scratch_redis_numbers_are_not_the_same_and_are_empty_after_it() -> None:
    with scratch_redis(settings.REDIS_URL) as one, scratch_redis(settings.REDIS_URL) as other:
        assert one != other
        with redis.Redis.from_url(one) as client:
            client.set("left", "behind")
    with redis.Redis.from_url(one) as client:
        assert client.get("left") is None


def test_a_number_that_holds_something_is_left_alone() -> None:
    with scratch_redis(settings.REDIS_URL) as taken, redis.Redis.from_url(taken) as client:
        client.rename(CLAIM, "of somebody else")
        with scratch_redis(settings.REDIS_URL) as other:
            assert other != taken
        assert client.keys() == [b"of somebody else"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:secret@127.0.0.1:6379/0", "redis://:secret@127.0.0.1:6379/48"),
        ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379/48"),
        ("rediss://host/0?db=3&ssl_cert_reqs=none", "rediss://host/48?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=48"),
    ],
)
def test_the_number_of_a_url_is_exchanged(url: str, expected: str) -> None:
    assert with_number(url, 48) == expected


def test_servers_that_do_not_answer_are_told_from_those_that_do() -> None:
    nobody = "127.0.0.1:1"
    assert answers(settings.DATABASE_URL, settings.REDIS_URL)
    assert not answers(settings.DATABASE_URL, f"redis://{nobody}/0")
    assert not answers(f"postgresql://{nobody}/helexa", settings.REDIS_URL)
    with pytest.raises(StartError, match="check DATABASE_URL"), scratch_database(f"postgresql://{nobody}/helexa"):
        pass
    with pytest.raises(StartError, match="check REDIS_URL"), scratch_redis(f"redis://{nobody}/0"):
        pass
