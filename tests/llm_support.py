"""A real HTTP server on this machine that answers chat completions as a test wants it to."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mkgen.llm.endpoint import EndpointSettings
from mkgen.llm.http import Endpoint
from mkgen.llm.retry import Retry

CANARY = "sk-canary-5d0f2c7f9e81b4a6"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
#: Waits that a test can afford.
QUICK = Retry(attempts=4, first=0.01, most=0.05, total=20.0)


class Handler(BaseHTTPRequestHandler):
    """One request: recorded, then given to the next of the server's answers."""

    protocol_version = "HTTP/1.1"
    server: Server
    body: dict[str, Any]

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.next_answer(self)(self)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read stderr."""

    def reply(self, status: int, body: str | bytes, **headers: str) -> None:
        """A whole response; `Retry_After="1"` is the header Retry-After."""
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        headers.setdefault("Content_Type", "application/json")
        for name, value in (headers | {"Content_Length": str(len(data))}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def events(self) -> None:
        """The beginning of a stream that ends with the connection."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def event(self, document: Any) -> None:
        data = document if isinstance(document, str) else json.dumps(document)
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()

    def reset(self) -> None:
        """Ends the connection by a reset, not by its orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        for file in (self.rfile, self.wfile):
            file.close()
        self.connection.close()


Answer = Callable[[Handler], None]


class Server(ThreadingHTTPServer):
    """Gives its answers in turn, the last one again and again."""

    daemon_threads = True

    def __init__(self, answers: list[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.released = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def next_answer(self, handler: Handler) -> Answer:
        with self._lock:
            self.requests.append((dict(handler.headers.items()), handler.body))
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def prompts(self) -> list[str]:
        with self._lock:
            return [body["messages"][0]["content"] for _, body in self.requests]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away in these tests."""


@contextmanager
def serving(*answers: Answer) -> Iterator[Server]:
    """A server, until the end of the block."""
    with Server(list(answers)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


def endpoint(server: Server, tell: Callable[[str], None] | None = None, **changes: Any) -> Endpoint:
    """A provider that asks `server`, with short waits."""
    settings = {"model": "m-1", "base_url": server.url, "retry": QUICK, "timeout": 10.0} | changes
    return Endpoint(EndpointSettings(**settings), tell or (lambda text: None))


def chunk(text: str | None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "model": "m-1-2026", "choices": [choice]}


def whole(text: str | None, finish: str = "stop", **message: Any) -> str:
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return json.dumps({"model": "m-1-2026", "choices": [choice], "usage": USAGE})


def says(text: str, finish: str = "stop", **message: Any) -> Answer:
    """The answer `text`, as a stream of two parts or in one piece, as it was asked for."""

    def answer(handler: Handler) -> None:
        if not handler.body.get("stream"):
            handler.reply(200, whole(text, finish, **message))
            return
        handler.events()
        handler.wfile.write(b": a comment\r\n\r\n")
        half = len(text) // 2
        handler.event(chunk(text[:half], None))
        handler.event(chunk(text[half:], None, **message))
        handler.event(chunk("", finish))
        handler.event({"model": "m-1-2026", "choices": [], "usage": USAGE})
        handler.event("[DONE]")

    return answer


def fails(status: int, message: str = "no", **headers: str) -> Answer:
    body = json.dumps({"error": {"message": message, "type": "t"}})
    return lambda handler: handler.reply(status, body, **headers)
