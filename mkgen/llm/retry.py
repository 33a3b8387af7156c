"""When a request is sent again, how long is waited before, and when it has taken too long."""

from __future__ import annotations

import contextlib
import datetime
import random
import socket
import threading
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any


class TransientError(Exception):
    """A failure that may be over the next time; `wait` is for how long the server asks, in s."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True)
class Retry:
    """How often and how long one exchange is tried."""

    attempts: int = 5
    first: float = 1.0
    """Seconds before the second attempt; doubled before each later one."""
    most: float = 60.0
    """Seconds between attempts, unless the server asks for more."""
    total: float = 1800.0
    """Seconds for all attempts and waits together."""

    def wait(self, failed: int, asked: float | None) -> float:
        """Seconds to wait after `failed` attempts, with jitter: clients must not come in step."""
        if asked is not None:
            return asked + random.uniform(0, min(self.first, 1.0))
        return random.uniform(0.5, 1.0) * min(self.most, self.first * 2.0 ** (failed - 1))


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as seconds or a date; None if unreadable.

    RFC 9110, section 10.2.3.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit() and len(text) < 20:
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # no date; one of a year beyond all
        return None
    if then.tzinfo is None:  # RFC 5322's -0000, and dates without a zone: HTTP's are UTC
        then = then.replace(tzinfo=datetime.UTC)
    return max(0.0, (then - datetime.datetime.now(datetime.UTC)).total_seconds())


class Deadline:
    """Ends the connection of one request when its time is over.

    httpx limits each read, not all of them: a server that sends a byte now and then would never
    be given up. `trace` is httpx's extension of that name, which tells of new connections.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._stream: Any = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Remembers the connection: TCP's first, then the one of TLS over it."""
        stream = info.get("return_value")
        if event.endswith(("connect_tcp.complete", "start_tls.complete")) and stream is not None:
            with self._lock:
                self._stream = stream
            if self.passed:
                self._shut()

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        self._shut()

    def _shut(self) -> None:
        with self._lock:
            found = self._stream and self._stream.get_extra_info("socket")
        if isinstance(found, socket.socket):
            # a read that waits in another thread ends by this, not by close(); the method of the
            # plain socket, as TLS' own would forget its state under that thread
            with contextlib.suppress(OSError):  # closed meanwhile
                socket.socket.shutdown(found, socket.SHUT_RDWR)
