"""The process of a web service: its socket, its connections, its signals; ``serve.py`` answers the requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import signal
import socket
from typing import Any, Callable, Iterator, Optional

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..utils.errors import UserError
from ..utils.limits import Limits
from .predictor import Predictor
from .serve import create_app

# asyncio accepts so many connections at a time, up to three times before the first is closed again.
BACKLOG = 64
# Files that are not connections.
OTHER_FILES = 64


def listen(host: str, port: int) -> socket.socket:
    """A socket whose connections send an answer's head and body at once.

    asyncio sees to that for its own sockets alone; with others each answer would wait 40 ms for a client's delayed ACK.
    """
    try:
        listening = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"can't listen on {host}, port {port}: {reason}; take another address or port") from error
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


class Connection(H11Protocol):
    """uvicorn's, closed where a head does not arrive or an answer is not read in time, or there are too many of them.

    Attributes:
        timeout: in seconds.
        max_connections: those that come beyond are closed at once.
    """

    timeout: float
    max_connections: int

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: Optional[asyncio.TimerHandle] = None
        self._unread: Optional[asyncio.TimerHandle] = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, error: Optional[Exception]) -> None:
        super().connection_lost(error)
        self._forget()
        self.resume_writing()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(self.timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def send_400_response(self, msg: str) -> None:
        """As JSON, like every other answer."""
        body = json.dumps({"error": msg}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.timeout, self.transport.close)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def serve(predictor: Predictor, limits: Limits, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM, after which the requests that run are finished.

    Raises:
        UserError: nothing can listen there, or the process may open too few files.
    """
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    others = 3 * BACKLOG + OTHER_FILES
    if allowed <= others:
        raise UserError(
            f"this process may open {allowed} files, and needs {others} and one for each connection; "
            f"allow more by ulimit -n 1024"
        )
    listening = listen(host, port)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                say(f"serving on http://{host}:{listening.getsockname()[1]}; Ctrl-C ends it")

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn's own raises the signal again at the end, which would make an orderly end a failure.
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    class Limited(Connection):
        timeout = limits.timeout
        max_connections = allowed - others

    config = uvicorn.Config(
        create_app(predictor, limits),
        http=Limited,
        backlog=BACKLOG,
        log_level="warning",
        # A request may take the time to arrive, and again to be answered.
        timeout_graceful_shutdown=int(2 * limits.timeout) + 1,
        # A client that pauses between its requests should not find its connection closed at once.
        timeout_keep_alive=max(5, int(limits.timeout)),
    )
    with listening:
        Server(config).run([listening])
