"""The HTTP server: routes a signed request to its operation, counts it, and answers; holds no state of AWS."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
import traceback
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

from hfcore.testing.aws import catalogue, describing, fleets, groups, running, spotfleets, templates
from hfcore.testing.aws.protocol import SERVICES, AwsError, Params, read_request, write_answer, write_error
from hfcore.testing.aws.world import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcore.testing.aws.world import Region, World

    Handler = Callable[[Region, Params], Params]
    Control = Callable[[str, Params], Any]

RULES_BROKEN = {"FilterLimitExceeded", "InvalidParameterCombination", "IdempotentParameterMismatch", "TagLimitExceeded"}
CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/([a-z0-9-]+)/([a-z0-9]+)/aws4_request")


def _named(*handlers: Handler) -> dict[str, Handler]:
    return {"".join(word.capitalize() for word in h.__name__.split("_")): h for h in handlers}


OPERATIONS: dict[str, dict[str, Handler]] = {
    "ec2": _named(
        running.run_instances,
        running.terminate_instances,
        describing.describe_instances,
        describing.describe_instance_status,
        describing.describe_spot_instance_requests,
        templates.create_launch_template,
        templates.describe_launch_templates,
        templates.describe_launch_template_versions,
        templates.delete_launch_template,
        fleets.create_fleet,
        fleets.describe_fleets,
        fleets.describe_fleet_instances,
        fleets.describe_fleet_history,
        fleets.modify_fleet,
        fleets.delete_fleets,
        spotfleets.request_spot_fleet,
        spotfleets.describe_spot_fleet_requests,
        spotfleets.describe_spot_fleet_instances,
        spotfleets.describe_spot_fleet_request_history,
        spotfleets.modify_spot_fleet_request,
        spotfleets.cancel_spot_fleet_requests,
        catalogue.describe_images,
        catalogue.describe_subnets,
        catalogue.describe_security_groups,
        catalogue.describe_vpcs,
        catalogue.describe_instance_types,
    ),
    "autoscaling": _named(
        groups.create_auto_scaling_group,
        groups.describe_auto_scaling_groups,
        groups.describe_auto_scaling_instances,
        groups.describe_scaling_activities,
        groups.update_auto_scaling_group,
        groups.set_desired_capacity,
        groups.suspend_processes,
        groups.terminate_instance_in_auto_scaling_group,
        groups.delete_auto_scaling_group,
    ),
    "ssm": _named(catalogue.get_parameter),
    "sts": _named(catalogue.get_caller_identity),
}


class DropConnection(Exception):
    """Raised by a hook: the caller's connection is reset, without an answer."""


class Hook:
    """A look at each call before its work and after it; outside the lock, so it may sleep.

    Either method may raise `AwsError` (answered in place of the result) or `DropConnection`. What `after` sees is done,
    whatever the caller is then told.
    """

    def before(self, call: Call) -> None:
        """Look at a call whose work is not begun."""

    def after(self, call: Call) -> None:
        """Look at a call whose work is done, its `outcome` known."""


class Server(ThreadingHTTPServer):
    """A server of one world on loopback."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, world: World, control: Control, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.world, self.control = world, control
        self.hooks: list[Hook] = []
        self.lock = threading.RLock()
        self.open: set[socket.socket] = set()

    def close(self) -> None:
        """Give the port back, and cut the connections that clients keep alive."""
        self.server_close()
        for one in list(self.open):
            with contextlib.suppress(OSError):  # closed meanwhile by its own thread
                one.shutdown(socket.SHUT_RDWR)

    def answer(self, service: str, region: str, body: str, target: str) -> tuple[int, str, Call]:
        """Do one call; give the HTTP status, the document and the record of the call."""
        request_id, at = str(uuid.uuid4()), self.world.timeline.now()
        call = Call(service=service, operation="", region=region, parameters={}, at=at, request_id=request_id)
        started = time.perf_counter()
        try:
            call.operation, call.parameters = read_request(service, body, target)
            for hook in self.hooks:
                hook.before(call)
            text = self._work(call)
            for hook in self.hooks:
                hook.after(call)
        except AwsError as error:
            call.outcome = error.code
            with self.lock:
                self.world.current = call.operation
                if error.code in RULES_BROKEN:
                    self.world.violate(error.message)
            return error.status, write_error(service, error, request_id), call
        except Exception as error:
            call.outcome = type(error).__name__
            raise
        finally:
            call.seconds = time.perf_counter() - started
            with self.lock:
                self.world.calls.append(call)
        return 200, text, call

    def _work(self, call: Call) -> str:
        handler = OPERATIONS[call.service].get(call.operation)
        if handler is None:
            raise AwsError("InvalidAction", f"The action {call.operation} is not valid for this web service.")
        with self.lock:
            self.world.timeline.run_due()
            self.world.current = call.operation
            call.at = self.world.timeline.now()
            # RunInstances looks at its parameters first, so that a dry run tells as much as AWS's does.
            if call.parameters.get("DryRun") and call.operation != "RunInstances":
                raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
            answer = handler(self.world.region(call.region), call.parameters)
            call.outcome = "ok"
            return write_answer(call.service, call.operation, answer, call.request_id)


class _Connection(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    types: ClassVar[dict[str, str]] = {"ssm": "application/x-amz-json-1.1"}

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        """Keep stderr for people: the calls are recorded."""

    def do_GET(self) -> None:
        self._control(self.path.removeprefix("/_control").strip("/"), "{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path.startswith("/_control"):
            self._control("", body)
            return
        scope = CREDENTIAL.match(self.headers.get("Authorization", ""))
        if scope is None or scope[2] not in SERVICES or "X-Amz-Date" not in self.headers:
            error = AwsError("MissingAuthenticationToken", "The request is not signed for a service known here.", 403)
            service = "ec2" if "Version=2016-11-15" in body else "sts"
            self._send(403, write_error(service, error, "unsigned"), "text/xml", "unsigned")
            return
        service = scope[2]
        try:
            status, text, call = self.server.answer(service, scope[1], body, self.headers.get("X-Amz-Target", ""))
            self._send(status, text, self.types.get(service, "text/xml;charset=UTF-8"), call.request_id)
        except DropConnection:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        except Exception as error:  # noqa: BLE001 - the boundary: a fault of ours is answered as AWS answers its own
            traceback.print_exc()
            text = write_error(service, AwsError("InternalError", f"{type(error).__name__}: {error}", 500), "failed")
            self._send(500, text, "text/xml", "failed")

    def _control(self, what: str, body: str) -> None:
        try:
            asked = json.loads(body)
            what = what or asked.pop("do", "")
            text = json.dumps(self.server.control(what, asked), default=str)
            self._send(200, text, "application/json", "control")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            text = json.dumps({"error": f"{what}: {type(error).__name__}: {error}"})
            self._send(400, text, "application/json", "control")

    def _send(self, status: int, text: str, content_type: str, request_id: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-amzn-RequestId", request_id)
        self.end_headers()
        self.wfile.write(data)
