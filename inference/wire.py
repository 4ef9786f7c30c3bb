"""What gateways and neurons say to each other over Celery and Redis.

A gateway sends Orders as a Celery task and reads events from one Redis stream of its own. Events of one engine step
travel together, as one entry: an entry per token costs four times as much (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from inference.events import Event
from inference.requests import GenerationRequest

#: Name of the Celery task that carries Orders.
GENERATE_TASK = "inference.generate"

#: Field of a gateway's event stream that holds one msgpack list of Published.
EVENTS_FIELD = b"e"
#: Fields of a neuron's control stream, each one msgpack list of attempt ids: those to cancel, and those whose settle
#: has committed, so that the neuron forgets what they came to. An entry carries either or both.
CANCEL_FIELD = b"c"
SETTLED_FIELD = b"s"

#: Field of a gateway's event stream that holds one msgpack list of attempt ids: what any neuron publishes for them
#: after this entry is neither relayed nor billed (DESIGN 3.7). The order of the stream is the fence's generation.
FENCE_FIELD = b"f"

#: Field of a gateway's event stream that holds one msgpack list of ids of background responses to be cancelled.
STOP_FIELD = b"x"

#: An event stream nobody trims any more (its gateway died) is gone after a day.
EVENTS_KEPT_S = 86_400


def gateway_stream(gateway_id: str) -> str:
    return f"helexa:gateway:{gateway_id}:events"


#: A request is tried at most this often: on two neurons, again wherever its reservation had to be extended, and again
#: and again where it runs in the background and waits for a place.
MOST_ATTEMPTS = 32


def attempt_id(request: str, number: int) -> str:
    """The id of an attempt, from the digits of its request's id: whoever knows a request knows its attempts."""
    return f"{request}.{number}"


class Order(msgspec.Struct, frozen=True):
    """A request on its way to a neuron. Any boot but the one it was meant for drops it (DESIGN 3.7)."""

    gateway: str
    boot_id: str
    request: GenerationRequest


#: Attempt id, sequence number of the event within the attempt (from 0, without gaps), event.
Published = tuple[str, int, Event]

encode_order = msgspec.json.Encoder().encode
decode_orders = msgspec.json.Decoder(list[Order]).decode


def together(encoded: Iterable[bytes]) -> bytes:
    """Orders that travel together, each encoded by itself: one that cannot be concerns nobody else."""
    return b"[" + b",".join(encoded) + b"]"


encode_published = msgspec.msgpack.Encoder().encode
decode_published = msgspec.msgpack.Decoder(list[Published]).decode
#: No events: what an entry holds that is for something else.
NOTHING = encode_published([])

encode_ids = msgspec.msgpack.Encoder().encode
decode_ids = msgspec.msgpack.Decoder(list[str]).decode
