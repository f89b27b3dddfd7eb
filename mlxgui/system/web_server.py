"""Daphne inside our own process: one listener, our signals, an end that waits for what runs."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from daphne.endpoints import build_endpoint_description_strings
from daphne.http_protocol import WebRequest
from daphne.server import Server, twisted_loop
from twisted.internet import reactor

from mlxgui.system.uploads import use_bounded_requests

DRAIN_SECONDS = 2.0
CLOSE_SECONDS = 2.0
GOING_AWAY = 3001
LAST_SECONDS = 4.8
"""Everything is gone five seconds after the signal, whatever hangs."""

type Step = Callable[[], Awaitable[None]]


class WebServer(Server):
    """`on_ready(port)` once it listens; `opened` then, and `closed` after the last request.

    `leave` is called where that takes too long.
    """

    def __init__(
        self,
        application: Any,
        host: str,
        port: int,
        *,
        on_ready: Callable[[int], None],
        opened: Step,
        closed: Step,
        leave: Callable[[], None] = lambda: os._exit(0),
    ) -> None:
        super().__init__(
            application,
            endpoints=build_endpoint_description_strings(host=host, port=port),
            signal_handlers=False,
            http_timeout=None,
            request_buffer_size=1 << 16,
            server_name="MLX GUI",
            verbosity=0,
        )
        self.on_ready, self.opened, self.closed = on_ready, opened, closed
        self.leave = leave
        self.problem = ""
        self.ports: list[Any] = []
        self.stopping: asyncio.Task[None] | None = None

    def run(self) -> None:
        use_bounded_requests()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            twisted_loop.add_signal_handler(number, self.interrupt)
        super().run()

    # -- start ------------------------------------------------------------------------------------

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self.ports.append(port)
        reactor.callWhenRunning(self.start, port.getHost().port)

    def listen_error(self, failure: Any) -> None:
        self.problem = getattr(failure.value, "socketError", None) or failure.getErrorMessage()
        self.stop()

    def start(self, port: int) -> None:
        self.on_ready(port)
        self.opening = asyncio.ensure_future(self.opened())

    # -- end --------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """The first signal lets what runs finish; the second does not wait."""
        if self.stopping:
            os._exit(130)
        self.end()

    def end(self) -> None:
        """Let what runs finish, for a bounded time. Asked twice is asked once."""
        if self.stopping:
            return
        deadline = threading.Timer(LAST_SECONDS, self.leave)
        deadline.daemon = True
        deadline.start()
        self.stopping = asyncio.ensure_future(self.close())

    async def close(self) -> None:
        for port in self.ports:
            port.stopListening()
        try:
            await self.drain()
            await asyncio.wait_for(self.closed(), CLOSE_SECONDS)
        except Exception as error:  # whatever it is, the process must still end
            sys.stderr.write(f"While stopping: {error!r}\n")
        self.close_sockets()
        await self.cancel_rest()
        self.stop()

    def running(self, kind: type = object) -> list[asyncio.Future[Any]]:
        """The applications at work, of connections of this kind."""
        applications = [
            details.get("application_instance")
            for protocol, details in list(self.connections.items())
            if isinstance(protocol, kind)
        ]
        return [one for one in applications if one is not None and not one.done()]

    async def drain(self) -> None:
        if waiting := self.running(WebRequest):
            await asyncio.wait(waiting, timeout=DRAIN_SECONDS)

    def close_sockets(self) -> None:
        """A page whose socket closes tries again later. Autobahn sends no code of the protocol's
        own but 1000, so "going away" is said in the range that applications may use."""
        for protocol in list(self.connections):
            if not isinstance(protocol, WebRequest):
                protocol.sendClose(code=GOING_AWAY)

    async def cancel_rest(self) -> None:
        rest = self.running()
        for application in rest:
            application.cancel()
        if rest:
            await asyncio.wait(rest, timeout=0.5)

    def kill_all_applications(self) -> None:
        """Done by `close`, which waits for them."""
