"""The server process of these tests; its one argument is JSON: `{"server": .., "limits": {..}, "fd": N or null}`."""

from __future__ import annotations

import json
import sys

from helexa.serving.limits import Limits
from helexa.serving.running import run
from helexa.serving.sockets import bound_socket, inherited_socket
from tests.serving.application import application, drain, render_error, tell


def main() -> int:
    asked = json.loads(sys.argv[1])
    sockets = [bound_socket("127.0.0.1", 0)]
    if asked["fd"] is not None:
        sockets.append(inherited_socket(asked["fd"]))
    port = sockets[0].getsockname()[1]
    return run(
        application,
        sockets=sockets,
        server=asked["server"],
        limits=Limits(**asked["limits"]),
        drain=drain,
        on_ready=lambda: tell(f"ready {port}"),
        render_error=render_error,
    )


if __name__ == "__main__":
    sys.exit(main())
