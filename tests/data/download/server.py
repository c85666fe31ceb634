"""A web server in a thread that serves a folder as real ones do, and fails as they do.

It knows Range, If-Range, ETag and Last-Modified. `script[path]` holds what the next requests of a
path get instead, one each; later ones are served well.
"""

from __future__ import annotations

import email.utils
import hashlib
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.script: dict[str, list[Action]] = defaultdict(list)
        self.validators: tuple[str, ...] = ("ETag", "Last-Modified")
        self.released = threading.Event()
        self.url = ""

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    @property
    def ranges(self) -> list[str | None]:
        """The Range of each request so far."""
        return [headers.get("Range") for _, headers in self.requests]


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, server))
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}/"
    thread = threading.Thread(target=partial(http.serve_forever, poll_interval=0.01))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's receipt

    def __init__(self, server: Server, *args) -> None:
        self.served = server
        super().__init__(*args)

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.served.requests.append((path, dict(self.headers)))
        actions = self.served.script[path]
        (actions.pop(0) if actions else well)(self)

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client has gone
            super().handle()

    def log_message(self, *_: object) -> None:
        pass

    def file(self) -> Path:
        return self.served.folder / self.path.lstrip("/")

    def answer(
        self,
        status: int,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        send: int | None = None,
        hold: bool = False,
    ) -> None:
        """send: so many bytes of the body, then cut; hold: then wait before the cut."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:send])
        self.wfile.flush()
        if hold:
            self.served.released.wait(20)
        if send is not None:
            self.close_connection = True


Action = Callable[[_Handler], None]


def well(
    handler: _Handler,
    *,
    send: int | None = None,
    hold: bool = False,
    ranges: bool = True,
    if_range: bool = True,
) -> None:
    """Serve the file. ranges, if_range: whether these requests are heeded."""
    file = handler.file()
    if not file.is_file():
        return handler.answer(404)
    body = file.read_bytes()
    known = {
        "ETag": f'"{hashlib.md5(body).hexdigest()}"',
        "Last-Modified": email.utils.formatdate(file.stat().st_mtime, usegmt=True),
    }
    headers = {name: known[name] for name in handler.served.validators}
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    same = handler.headers.get("If-Range") in (None, *headers.values())
    if not (asked and ranges and (same or not if_range)):
        return handler.answer(200, body, headers, send, hold)
    start = int(asked[1])
    if start >= len(body):
        return handler.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
    headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
    return handler.answer(206, body[start:], headers, send, hold)


def cut(after: int) -> Action:
    """Send fewer bytes than Content-Length says, and close."""
    return partial(well, send=after)


def stall(after: int) -> Action:
    """Send so many bytes, and then none until the server is released."""
    return partial(well, send=after, hold=True)


def status(code: int, **headers: str) -> Action:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(code, b"sorry", named)


def body(content: bytes, **headers: str) -> Action:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(200, content, named)


def drop(handler: _Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def silence(handler: _Handler) -> None:
    """Not a word until the server is released."""
    handler.served.released.wait(20)
    handler.close_connection = True


PAGE = b"\n<!DOCTYPE html><title>Please sign in</title>"
page = body(PAGE, Content_Type="text/html; charset=utf-8")
