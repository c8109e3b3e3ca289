"""HTTP on loopback: signed requests to whoever answers them, and `/_control`; knows no operation."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from hfcore.testing.aws.protocol import JSON_SERVICES, SERVICES, AwsError, write_error
from hfcore.testing.aws.world import ACCOUNT

if TYPE_CHECKING:
    from hfcore.testing.aws.strict import StrictAws

CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+?(\d{12})?/\d{8}/([a-z0-9-]+)/([a-z0-9]+)/aws4_request")


class DropConnection(Exception):
    """Raised by a hook: the connection is cut without an answer, once the caller has gone or waited `hold` seconds."""

    def __init__(self, hold: float = 0.0) -> None:
        super().__init__()
        self.hold = hold


class Server(ThreadingHTTPServer):
    """A server on loopback."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, aws: StrictAws, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.aws = aws
        self.open: set[socket.socket] = set()

    def close(self) -> None:
        """Give the port back, and cut the connections that clients keep alive."""
        self.server_close()
        for one in list(self.open):
            with contextlib.suppress(OSError):  # closed meanwhile by its own thread
                one.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep still about callers that were gone before they were answered; tests kill them."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Connection(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        """Keep stderr for people: the calls are recorded."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Give the world's time: the header `Date` shows a caller how wrong its clock is."""
        return super().date_time_string(self.server.aws.world.timeline.now() if timestamp is None else timestamp)

    def do_GET(self) -> None:
        self._control(self.path.removeprefix("/_control").strip("/"), "{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path.startswith("/_control"):
            self._control("", body)
            return
        scope = CREDENTIAL.match(self.headers.get("Authorization", ""))
        if scope is None or scope[3] not in SERVICES or "X-Amz-Date" not in self.headers:
            error = AwsError("MissingAuthenticationToken", "The request is not signed for a service known here.", 403)
            self._fail(error, "ec2" if "Version=2016-11-15" in body else "autoscaling")
            return
        account, region, service = scope[1] or ACCOUNT, scope[2], scope[3]
        try:
            target = self.headers.get("X-Amz-Target", "")
            status, text, call = self.server.aws.answer(service, region, body, target, account)
            kind = "application/x-amz-json-1.1" if service in JSON_SERVICES else "text/xml"
            self._send(status, text, kind, call.request_id)
        except DropConnection as drop:
            self.close_connection = True
            select.select([self.connection], [], [], drop.hold)  # until the caller gives up
            with contextlib.suppress(OSError):  # it is closed already
                self.connection.shutdown(socket.SHUT_RDWR)
        except Exception as error:  # noqa: BLE001 - the boundary: a fault of ours is answered as AWS answers its own
            traceback.print_exc()
            self._fail(AwsError("InternalError", f"{type(error).__name__}: {error}", 500), service)

    def _control(self, what: str, body: str) -> None:
        try:
            asked = json.loads(body)
            what = what or asked.pop("do", "")
            self._send(200, json.dumps(self.server.aws.control(what, asked), default=str), "application/json")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            text = json.dumps({"error": f"{what}: {type(error).__name__}: {error}"})
            self._send(400, text, "application/json")

    def _fail(self, error: AwsError, service: str) -> None:
        self._send(error.status, write_error(service, error, "none"), "text/xml")

    def _send(self, status: int, text: str, content_type: str, request_id: str = "none") -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in (("Content-Type", content_type), ("Content-Length", len(data))):
            self.send_header(name, str(value))
        self.send_header("x-amzn-RequestId", request_id)
        self.end_headers()
        self.wfile.write(data)
