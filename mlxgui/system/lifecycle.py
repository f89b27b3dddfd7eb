"""Shutting down and starting anew: asked for by a page, a route or the menu bar; done by `serve`.

A restart replaces the program within the same process (exec), after everything was closed as for an
end. So the terminal, a service manager and downloads under way keep hold of what they had.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from django.db import connections

from mlxgui.system.logs import diary
from mlxgui.system.startup import Address, CannotStart, cannot_listen, choose_address

ANSWER_SECONDS = 0.4
"""Between the wish and the end: the answer arrives, and the page fetches what it still needs."""


class CannotEnd(Exception):
    """Why the server is not stopped or restarted, in a sentence for people."""


@dataclass
class Control:
    """What `serve` hands to the runtime.

    `host` and `port` are the flags of the command line; None where there was none.
    """

    address: Address
    host: str | None
    port: int | None
    end: Callable[[], None] = lambda: None
    """Begins the clean end; comes back at once."""
    restarting: bool = False
    _wished: list[asyncio.TimerHandle] = field(default_factory=list)

    def shut_down(self) -> None:
        self._end_soon()

    def restart(self, rows: dict[str, Any]) -> Address:
        """Where it will listen, by the settings of now. Raises CannotEnd where it could not."""
        try:
            address = self.next_address(rows)
        except CannotStart as reason:
            raise CannotEnd(f"{reason} Nothing was changed.") from None
        if address.port != self.address.port and (problem := listening_problem(address)):
            raise CannotEnd(f"{cannot_listen(address, problem)} Nothing was changed.")
        self.restarting = True
        self._end_soon()
        return address

    def next_address(self, rows: dict[str, Any]) -> Address:
        """By flags, environment and settings. A port chosen freely is kept."""
        address = choose_address(rows, self.host, self.port)
        return address if address.port else replace(address, port=self.address.port)

    def _end_soon(self) -> None:
        if not self._wished:
            loop = asyncio.get_running_loop()
            self._wished.append(loop.call_later(ANSWER_SECONDS, self.end))

    def leave(self) -> NoReturn:
        """The last act of this program, from whatever thread."""
        if not self.restarting:
            os._exit(0)
        self.start_anew()

    def start_anew(self) -> NoReturn:
        diary.info("restarting")
        connections.close_all()
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, self.command())

    def command(self) -> list[str]:
        """As this program was started; a port that was chosen freely is now asked for by name."""
        command = [sys.executable, *sys.orig_argv[1:]]
        asked = self.port if self.port is not None else os.environ.get("MLX_GUI_PORT")
        return [*command, "--port", str(self.address.port)] if str(asked) == "0" else command


def listening_problem(address: Address) -> OSError | None:
    """Why nobody could listen there now; None where one could."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0], found[1]) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
    except OSError as problem:
        return problem
    return None
