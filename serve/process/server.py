"""uvicorn's server, made to leave politely.

On SIGTERM uvicorn refuses new connections at once and drops the idle ones, while load balancers
still send requests for seconds. Here readiness turns 503 first; for ``SENTIMENT_DRAIN_SECONDS``
everything is served as before (with ``Connection: close``); then no new connection is let in,
those that the kernel had already taken are answered, and the process exits with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from uvicorn import Config
from uvicorn.server import Server

from serve.process.listening import refuse_new_connections
from serve.process.protocol import HttpProtocol

if TYPE_CHECKING:
    from serve.settings import Settings
    from serve.state import State

logger = logging.getLogger("sentiment.serve")

# What a parent tells a worker whose successor serves.
HAND_OVER = signal.SIGUSR1
# And what when somebody presses Ctrl-C again: no answer is waited for.
AT_ONCE = signal.SIGUSR2
# How long the last connections get to reach a process, and an idle one to stay quiet.
LAST_SECONDS = 0.3
# uvicorn's.
TICK_SECONDS = 0.1
# A turn of the loop that took so long was nobody's request.
STALL_SECONDS = 1.0
# How long one that has been opened, or has begun a request, gets to send the rest of its head.
HEAD_SECONDS = 2.0


class PoliteServer(Server):
    """One process's server.

    Parameters
    ----------
    config : Config
        uvicorn's configuration.
    settings : Settings
        Drain and shutdown times.
    parent : int, optional
        The parent of several workers: it passes signals on, and when it is gone this process
        leaves too.
    every_tick : callable, optional
        Called ten times a second.
    """

    def __init__(
        self,
        config: Config,
        settings: Settings,
        parent: int | None = None,
        every_tick: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        self.settings = settings
        self.parent = parent
        self.every_tick = every_tick
        self.state: State | None = None
        self.left_by: int | None = None
        self._leave_at = float("inf")
        self._ticked = time.monotonic()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving."""
        await super().startup(sockets)
        self._ticked = time.monotonic()
        state: State = self.lifespan.state["state"]
        state.tasks = self.server_state.tasks
        state.connections = self.server_state.connections
        state.draining = self.left_by is not None  # told to leave while it was starting
        self.state = state

    async def on_tick(self, counter: int) -> bool:
        """Look at slow clients, at the parent, and whether it is time to leave."""
        now = time.monotonic()
        # What a pause of the machine, or a long turn of the loop, kept from being read is not the
        # client's fault.
        late = now - self._ticked - TICK_SECONDS
        self._ticked = now
        if late > STALL_SECONDS:
            for connection in list(self.server_state.connections):
                assert isinstance(connection, HttpProtocol)
                connection.forgive(late)
        elif counter % 3 == 0:
            for connection in list(self.server_state.connections):
                assert isinstance(connection, HttpProtocol)
                connection.check(now)
        if self.every_tick is not None:
            self.every_tick()
        if self.parent is not None and os.getppid() != self.parent and self.left_by is None:
            logger.error("the parent process is gone: leaving")
            self.parent = None  # nobody else closes the door
            self.leave(signal.SIGQUIT)
        if now >= self._leave_at:
            self.should_exit = True
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave on signals, and exit with 0 afterwards instead of dying of them."""
        # Ctrl-C reaches every process of a terminal; workers wait for what the parent says.
        ignored = {signal.SIGINT} if self.parent is not None else set()
        before = {
            number: signal.signal(number, signal.SIG_IGN if number in ignored else self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, HAND_OVER, AT_ONCE)
        }
        signal.pthread_sigmask(signal.SIG_UNBLOCK, before)  # a parent forks with them blocked
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.leave(number)

    def leave(self, number: int) -> None:
        """Begin to leave; another signal means at once.

        SIGTERM drains first. Ctrl-C (SIGINT) is somebody at a keyboard, not a load balancer.
        `HAND_OVER` leaves the door to the other workers.
        """
        if self.left_by is not None:
            self.force_exit = self.force_exit or number in (signal.SIGINT, AT_ONCE)
            self._leave_at = 0.0
            return
        self.left_by = number
        drain = self.settings.drain_seconds if number == signal.SIGTERM else 0.0
        self._leave_at = time.monotonic() + drain
        if self.state is not None:
            self.state.draining = True
        logger.info("leaving: not ready from now on, serving for %g s more", drain)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody new in, answer whoever is in, and close."""
        if self.state is not None:
            self.state.draining = True
        if self.left_by == HAND_OVER:
            for server in self.servers:
                server.close()  # who has not been let in yet waits for the other workers
        elif self.parent is None:
            for sock in sockets or []:
                refuse_new_connections(sock)
        # Connections that the kernel has completed are still accepted meanwhile.
        await self._answer_the_rest()
        if self.force_exit:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)  # whoever works for them is told that nobody is there
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would leave the application as it stands
            await self.lifespan.shutdown()

    async def _answer_the_rest(self) -> None:
        end = time.monotonic() + self.settings.shutdown_timeout
        quiet_until = time.monotonic() + LAST_SECONDS
        while not self.force_exit:
            now = time.monotonic()
            total = self.server_state.total_requests
            if now >= quiet_until:
                for connection in list(self.server_state.connections):
                    assert isinstance(connection, HttpProtocol)
                    connection.finish(now, HEAD_SECONDS)
                if not self.server_state.connections and not self.server_state.tasks:
                    return
            if now > end:
                return
            await asyncio.sleep(0.05)
            if self.server_state.total_requests != total:
                quiet_until = time.monotonic() + LAST_SECONDS


def server_config(settings: Settings, **options: Any) -> Config:
    """Return uvicorn's configuration for these settings."""
    return Config(
        "serve.app:from_env",
        factory=True,
        http=HttpProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        workers=settings.workers,
        server_header=False,
        proxy_headers=bool(settings.forwarded_allow_ips),
        forwarded_allow_ips=list(settings.forwarded_allow_ips),
        timeout_keep_alive=settings.keep_alive,  # type: ignore[arg-type] # any number of seconds
        timeout_graceful_shutdown=int(settings.shutdown_timeout),
        **options,
    )
