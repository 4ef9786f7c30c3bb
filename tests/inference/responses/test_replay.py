"""A response put together from its events alone is what it was, wherever they break off."""

from __future__ import annotations

import json

import pytest

from inference.dialects.responses.replay import Replay
from tests.inference.responses.stories import STARTED, STORIES, answer_for


@pytest.mark.parametrize("name", STORIES)
def test_a_response_that_breaks_off_fails_with_what_was_told(name: str) -> None:
    story = STORIES[name]
    for cut in range(len(story.pieces) + 1):
        answer = answer_for(story)
        frames = [*answer.queued(), *answer.begin(STARTED)]
        for piece in story.pieces[:cut]:
            frames += answer.add(piece)
        answer.give_up()
        made = json.loads(answer.encoded())["output"]
        for item in made:
            if item["type"] == "custom_tool_call" and item["status"] == "incomplete":
                item["input"] = ""  # it is told when it is whole
            if item["type"] == "reasoning" and item["status"] == "incomplete":
                item["encrypted_content"] = None
        replay = Replay(frames)
        assert replay.next_number == len(frames)
        body, last = replay.fail("Gone.", fallback={})
        failed = json.loads(body)
        assert (failed["status"], failed["output"]) == ("failed", made)
        assert failed["error"] == {"code": "server_error", "message": "Gone."}
        assert failed.keys() == json.loads(answer.encoded()).keys()
        events = [json.loads(frame.partition(b"\ndata: ")[2]) for frame in last]
        assert [event["sequence_number"] for event in events] == [len(frames), len(frames) + 1]
        assert events[-1]["response"] == failed


def test_without_any_event_the_stored_object_fails() -> None:
    body, last = Replay([]).fail("Gone.", fallback={"id": "resp_1", "status": "queued", "output": []})
    assert json.loads(body)["status"] == "failed"
    assert [json.loads(frame.partition(b"\ndata: ")[2])["sequence_number"] for frame in last] == [0, 1]
