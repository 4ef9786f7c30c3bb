"""What a connection may cost before it is refused or cut."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

KIB, MIB = 1024, 1024 * 1024

#: After a refusal we read on for so long: a close while the client still sends would reset the connection and our
#: answer would be lost.
LINGER_S = 2.0
#: How long answers already given may take to leave when the process ends.
FLUSH_S = 5.0
#: Deadlines are looked at, not waited for: a timer per request would cost more than the rest of them.
LOOK_AT_DEADLINES_EVERY_S = 0.5


@dataclass(frozen=True)
class Limits:
    """Times in seconds, sizes in bytes, each per connection."""

    #: Request line and headers together.
    header_bytes: int = 32 * KIB
    #: A longer body is refused with 413: by its content-length before it is read, else when it has grown too long.
    body_bytes: int = 32 * MIB
    #: From the connection, or from the first byte of its next request, to the end of the headers.
    header_timeout_s: float = 10.0
    #: A body may stand still for so long.
    body_timeout_s: float = 60.0
    #: How much an application may send ahead of its reader; above it `send` waits.
    unsent_bytes: int = 4 * MIB
    #: A reader that keeps `send` waiting and takes nothing for so long is cut off.
    unsent_timeout_s: float = 30.0
    #: An idle connection waits so long for its next request.
    keep_alive_s: float = 75.0
    #: How long running work may take to finish after the first SIGTERM or SIGINT.
    drain_s: float = 600.0


class Phase(Enum):
    """Where a connection is; each phase but ANSWERING has a deadline."""

    IDLE = auto()  # no byte of a request yet
    HEADERS = auto()
    BODY = auto()
    ANSWERING = auto()
    CLOSING = auto()  # nothing that arrives counts any more
