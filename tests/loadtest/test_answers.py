from __future__ import annotations

import pytest

from helexa.loadtest.answers import WORDS, WrongAnswerError, check_stream, check_whole, dechunked, seems_right
from tests.loadtest.wire import DONE, chunked, completion, stream

BROKEN_OFF = b'data: {"error":{"message":"The neuron stopped answering."}}\n\n' + DONE


def test_right_answers_pass() -> None:
    check_whole(completion())
    check_stream(stream())
    check_stream(stream(compact=False))


@pytest.mark.parametrize("body", [completion(WORDS - 1), b'{"choices":[]}', b"<html>", b""])
def test_a_completion_of_other_length_or_none_is_wrong(body: bytes) -> None:
    with pytest.raises(WrongAnswerError):
        check_whole(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (stream(WORDS - 1), "33 chunks with text instead of 34"),
        (stream(WORDS + 1), "35 chunks"),
        (stream(end=b""), "did not end with"),
        (stream(end=DONE + stream(0, end=b"")), "did not end with"),
        (stream(WORDS - 1, end=BROKEN_OFF), "broke off: The neuron stopped answering."),
        (stream(end=BROKEN_OFF), "broke off"),
        (b"", "0 chunks"),
    ],
)
def test_a_stream_that_lacks_something_is_wrong_also_at_a_glance(body: bytes, reason: str) -> None:
    with pytest.raises(WrongAnswerError, match=reason):
        check_stream(body)
    assert not seems_right(bytearray(chunked(body)))


def test_a_stream_with_a_broken_chunk_is_wrong() -> None:
    with pytest.raises(WrongAnswerError, match="not JSON"):
        check_stream(stream(end=b"data: {\n\n" + DONE))


def test_a_glance_knows_a_right_stream_by_its_bytes() -> None:
    assert seems_right(bytearray(chunked(stream())))
    assert not seems_right(bytearray(chunked(stream(compact=False))))  # then it is read in full


def test_chunked_coding_is_undone_wherever_it_was_cut() -> None:
    body = stream()
    for piece_bytes in (1, 7, 4096):
        raw = chunked(body, piece_bytes=piece_bytes)
        assert dechunked(raw[raw.index(b"\r\n\r\n") + 4 :]) == body
