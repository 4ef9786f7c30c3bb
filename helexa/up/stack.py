"""The order of `up`: what starts after what, how long to wait for it, and how all of it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from helexa.embedded.place import Place
from helexa.embedded.postgres import Postgres
from helexa.embedded.program import Program
from helexa.embedded.valkey import Valkey
from helexa.home import REPOSITORY, Home, ServerUrls, StartError
from helexa.serving.sockets import ListenError, bound_socket
from helexa.up import bootstrap
from helexa.up.child import Child
from helexa.up.metrics import Metrics
from helexa.up.plan import Plan
from helexa.up.readiness import connect, wait_for_gateways, wait_for_model
from helexa.up.terminal import Terminal

#: How long each kind may take to end by itself: gateways finish streams, servers write down what they hold.
DRAIN_S = 10.0
NEURON_PATIENCE_S = 10.0
SERVER_PATIENCE_S = 30.0


class Stack:
    def __init__(self, plan: Plan, home: Home, terminal: Terminal) -> None:
        self._plan = plan
        self._home = home
        self._terminal = terminal
        self._servers: list[Child] = []
        self._neurons: list[Child] = []
        self._gateways: list[Child] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._socket: socket.socket | None = None
        self._metrics: Metrics | None = None
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Start everything, stay until a signal, end everything. Raises StartError for what cannot start or stay."""
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        starting = asyncio.create_task(self._start())
        try:
            await asyncio.wait({starting, self._end}, return_when=asyncio.FIRST_COMPLETED)
            if not self._end.done():
                starting.result()
            await self._end
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._stop()

    def _on_signal(self) -> None:
        if self._end.done():
            self._hurry.set()
        else:
            self._end.set_result(None)

    # -- starting --------------------------------------------------------------------------------

    async def _start(self) -> None:
        for name in ("secret_key", "key_pepper"):
            self._home.make_secret(name)
        self._socket = bind(self._plan.host, self._plan.port)
        self._metrics = Metrics.serve(
            self._home.metrics, listen=self._plan.metrics_listen, gateway_port=self._plan.port
        )
        urls = await self._start_servers()
        self._home.publish_server_urls(urls)
        # A neuron imports torch for seconds and needs no database, so it starts beside the first rows.
        self._neurons = [self._neuron(name, urls) for name in self._plan.neurons]
        first_rows = await self._bootstrap(urls)
        self._socket.listen(2048)
        self._gateways = [self._gateway(number, urls) for number in range(1, self._plan.gateways + 1)]
        with await asyncio.to_thread(connect, urls.redis) as client:
            await wait_for_gateways(self._gateways, client, self._terminal.progress)
            await wait_for_model(first_rows["model"], self._neurons, client, self._terminal.progress)
        self._terminal.end_progress()
        self._terminal.say(f"metrics: {self._metrics.url}")
        self._terminal.announce(
            f"helexa ready: {self._plan.url}  key={first_rows['key']}  "
            f"admin={self._plan.url}/admin/ {first_rows['admin_user']} {first_rows['admin_password']}"
        )

    async def _start_servers(self) -> ServerUrls:
        if self._plan.redis_url is not None:
            await asyncio.to_thread(connect, self._plan.redis_url)
        if self._plan.database_url is not None and self._plan.redis_url is not None:
            return ServerUrls(self._plan.database_url, self._plan.redis_url)
        self._terminal.progress("starting PostgreSQL and Redis")
        place = await asyncio.to_thread(Place.of, self._home)
        if place.note:
            self._terminal.say(place.note)
        database, redis = await asyncio.gather(self._database(place), self._redis(place))
        return ServerUrls(database, redis)

    async def _database(self, place: Place) -> str:
        if self._plan.database_url is not None:
            return self._plan.database_url
        return await self._serve(Postgres(self._home, place))

    async def _redis(self, place: Place) -> str:
        if self._plan.redis_url is not None:
            return self._plan.redis_url
        listen = self._plan.listen
        server = Valkey(self._home, place, listen=listen)
        url = await self._serve(server)
        if listen is not None:
            # Listening everywhere has no address of its own that another host could use.
            address = socket.gethostname() if listen in ("0.0.0.0", "::") else listen  # noqa: S104
            self._terminal.say(
                "On another host, type there: "
                f"REDIS_URL={server.url_at(address)} python manage.py runworker --name NAME"
            )
        return url

    async def _serve(self, server: Postgres | Valkey) -> str:
        child = self._keep(self._servers, server.name, server.program(), prepare=server.prepare)
        while not await asyncio.to_thread(server.is_ready):
            if child.deaths:
                raise StartError(server.explain("\n".join(child.tail)))
            await asyncio.sleep(0.05)
        return server.url

    async def _bootstrap(self, urls: ServerUrls) -> dict[str, str]:
        """Run the first rows in a process of its own, since this one has no database in its settings."""
        program = Program(
            [sys.executable, "-m", bootstrap.__name__, ",".join(self._plan.neurons)],
            self._environment(urls),
            folder=REPOSITORY,
        )
        with program.popen_arguments() as arguments:
            process = await asyncio.create_subprocess_exec(
                *program.argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **arguments
            )
        try:
            output, error = await asyncio.gather(_read(process.stdout), self._follow_bootstrap(process.stderr))
            if await process.wait() != 0:
                raise StartError(error or f"The first rows could not be written: see {self._bootstrap_log}.")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return dict(json.loads(output))

    @property
    def _bootstrap_log(self) -> Path:
        return self._home.logs / "bootstrap.log"

    async def _follow_bootstrap(self, stderr: asyncio.StreamReader | None) -> str:
        """Show its progress, keep the rest in its log, and give its sentence about an error."""
        assert stderr is not None
        sentence = ""
        with self._bootstrap_log.open("w") as log:
            async for raw in stderr:
                line = raw.decode(errors="replace").rstrip()
                log.write(f"{line}\n")
                if line.startswith(bootstrap.PROGRESS):
                    self._terminal.progress(line.removeprefix(bootstrap.PROGRESS))
                elif line.startswith(bootstrap.ERROR):
                    sentence = line.removeprefix(bootstrap.ERROR)
        return sentence

    def _neuron(self, name: str, urls: ServerUrls) -> Child:
        environment = self._environment(urls)
        del environment["DATABASE_URL"]  # a neuron has no business there (DESIGN 2)
        if self._plan.workers > 1:
            # Each would take every core, and threads that wait for their turn spin: together they hardly move.
            environment["HELEXA_WORKERS"] = str(self._plan.workers)  # they share the memory of the host
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self._plan.workers)))
        return self._keep(self._neurons, name, self._command("runworker", "--name", name, environment=environment))

    def _gateway(self, number: int, urls: ServerUrls) -> Child:
        assert self._socket is not None
        assert self._metrics is not None
        descriptor = self._socket.fileno()
        program = self._command(
            *("serve", "--fd", str(descriptor), "--server", self._plan.server),
            environment=self._environment(urls),
            pass_fds=[descriptor],
        )
        name = "gateway" if number == 1 else f"gateway-{number}"
        return self._keep(self._gateways, name, program, after_end=self._metrics.forget)

    def _command(self, *arguments: str, environment: dict[str, str], pass_fds: Sequence[int] = ()) -> Program:
        return Program(
            [sys.executable, str(REPOSITORY / "manage.py"), *arguments],
            environment,
            pass_fds=pass_fds,
            folder=REPOSITORY,
        )

    def _environment(self, urls: ServerUrls) -> dict[str, str]:
        environment = {
            **os.environ,
            "HELEXA_HOME": str(self._home.path),
            "DATABASE_URL": urls.database,
            "REDIS_URL": urls.redis,
            "PROMETHEUS_MULTIPROC_DIR": str(self._home.metrics),
            "PYTHONUNBUFFERED": "1",
        }
        if self._plan.model is not None:
            environment["HELEXA_MODEL"] = self._plan.model
        if self._terminal.is_interactive:
            environment["HELEXA_LOG_PRETTY"] = "1"
        return environment

    def _keep(
        self,
        kind: list[Child],
        name: str,
        program: Program,
        *,
        prepare: Callable[[], None] = lambda: None,
        after_end: Callable[[int], None] = lambda _pid: None,
    ) -> Child:
        child = Child(
            name,
            program,
            logs=self._home.logs,
            terminal=self._terminal,
            restart=self._plan.restart,
            prepare=prepare,
            after_end=after_end,
        )
        kind.append(child)
        task = asyncio.create_task(child.run())
        task.add_done_callback(self._on_child_end)
        self._tasks.append(task)
        return child

    def _on_child_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._end.done():
            self._end.set_exception(error)

    # -- ending ----------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """Those who need others end before them."""
        if self._tasks:
            self._terminal.progress("stopping")
        if self._socket is not None:
            self._socket.close()
        calm = asyncio.Event()  # nobody hurries the servers: they write down what they hold
        for children, patience_s, hurry in (
            (self._gateways, DRAIN_S, self._hurry),
            (self._neurons, NEURON_PATIENCE_S, self._hurry),
            (self._servers, SERVER_PATIENCE_S, calm),
        ):
            await asyncio.gather(*(child.stop(patience_s, hurry) for child in children))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._metrics is not None:
            self._metrics.close()
        self._terminal.end_progress()


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None
    return await stream.read()


def bind(host: str, port: int) -> socket.socket:
    """The address of all gateways, which inherit it; it listens only when they are about to start."""
    try:
        return bound_socket(host, port)
    except ListenError as error:
        raise StartError(f"helexa cannot start: {error} (HELEXA_HOST and HELEXA_PORT say where it listens.)") from error
