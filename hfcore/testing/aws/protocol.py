"""AWS's wire formats, driven by botocore's service models: requests in, answers and error documents out.

Owns no behaviour of any operation.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.loaders import Loader
from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StructureShape

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICES = ("ec2", "autoscaling", "ssm", "sts")

# AWS documents are open: botocore's models say what is in them, not types.
Open = Any
Params = dict[str, Open]


class AwsError(Exception):
    """An error as AWS answers it: `code`, `message` and the HTTP `status` (400 unless told)."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


class Raw(str):
    """XML that is serialised already: an instance described often keeps its fragment."""

    __slots__ = ()


@lru_cache
def service_model(service: str) -> ServiceModel:
    """Load botocore's model of `service`; the first load of ec2 takes about 0.1 s."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def invalid_code(service: str) -> str:
    """Name the code with which `service` answers a value that its model refuses."""
    return "InvalidParameterValue" if service == "ec2" else "ValidationError"


class _Reader:
    """Reads one request by its operation's input shape, refusing what the model does not know."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.ec2 = service == "ec2"

    def value(self, shape: Shape, node: Open, name: str) -> Open:
        if isinstance(shape, StructureShape):
            return self._structure(shape, node, name)
        if isinstance(shape, ListShape):
            return self._list(shape, node, name)
        try:
            value = _SCALARS.get(shape.type_name, str)(node)
        except ValueError:
            raise self._invalid(name, node) from None
        self._check(shape, value, name)
        return value

    def _structure(self, shape: StructureShape, node: Open, name: str) -> Params:
        rest, found = dict(node or {}), {}
        for key, member in shape.members.items():
            wire = self._wire_name(member, key)
            if wire in rest:
                found[key] = self.value(member, rest.pop(wire), f"{name}.{key}" if name else key)
        if rest:
            raise AwsError("UnknownParameter", f"The parameter {next(iter(rest))} is not recognized")
        for key in shape.required_members:
            if key not in found:
                raise AwsError("MissingParameter", f"The request must contain the parameter {name} {key}")
        return found

    def _list(self, shape: ListShape, node: Open, name: str) -> list[Open]:
        if not self.ec2 and node:
            node = node.get(shape.member.serialization.get("name", "member"))
        items = [self.value(shape.member, node[i], name) for i in sorted(node, key=int)] if node else []
        self._check(shape, items, name)
        return items

    def _wire_name(self, member: Shape, key: str) -> str:
        how = member.serialization
        if not self.ec2:
            return str(how.get("name", key))
        name = str(how.get("name", key))
        return str(how.get("queryName", name[0].upper() + name[1:]))

    def _check(self, shape: Shape, value: Open, name: str) -> None:
        # botocore's client checks neither enumerations nor upper bounds: AWS does.
        size = value if isinstance(value, int | float) else len(value)
        low, high = shape.metadata.get("min", size), shape.metadata.get("max", size)
        known = getattr(shape, "enum", None)
        if not low <= size <= high or (known and shape.name != "InstanceType" and value not in known):
            raise self._invalid(name, value)

    def _invalid(self, name: str, value: Open) -> AwsError:
        return AwsError(invalid_code(self.service), f"Value ({str(value)[:80]}) for parameter {name} is invalid.")


def _timestamp(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


_SCALARS: Mapping[str, Any] = {
    "integer": int,
    "long": int,
    "double": float,
    "float": float,
    "boolean": _boolean,
    "timestamp": _timestamp,
}


def _tree(body: str) -> Params:
    tree: Params = {}
    for key, value in parse_qsl(body, keep_blank_values=True):
        *path, leaf = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise AwsError("MalformedQueryString", f"The parameter {key} contradicts an earlier one.")
        node[leaf] = value
    return tree


def read_request(service: str, body: str, target: str) -> tuple[str, Params]:
    """Give the operation's name and its parameters, typed.

    Args:
        service: botocore's name of the service.
        body: the form (ec2, query) or JSON document.
        target: the header `X-Amz-Target` (json only).
    """
    model = service_model(service)
    if model.metadata["protocol"] == "json":
        return target.rpartition(".")[2], json.loads(body or "{}")
    tree = _tree(body)
    name = tree.pop("Action", "")
    tree.pop("Version", None)
    if name not in model.operation_names:
        raise AwsError("InvalidAction", f"The action {name} is not valid for this web service.")
    shape = model.operation_model(name).input_shape
    try:
        return name, _Reader(service).value(shape, tree, "") if shape else {}
    except (TypeError, ValueError, AttributeError) as error:  # a list without numbers, a structure without members
        raise AwsError("MalformedQueryString", f"The query string is malformed: {error}") from None


def _scalar(shape: Shape, value: Open) -> str:
    if shape.type_name == "boolean":
        return "true" if value else "false"
    if shape.type_name == "timestamp":
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if shape.type_name == "double":
        return str(float(value))
    return escape(str(value))


def xml(shape: Shape, value: Open, name: str) -> str:
    """Serialise `value` by `shape` as the element `name`; what the shape lacks is left out, None too."""
    if isinstance(value, Raw):
        return value
    if isinstance(shape, StructureShape):
        return f"<{name}>{_members(shape, value)}</{name}>"
    if isinstance(shape, ListShape):
        flat = shape.serialization.get("flattened")
        item = shape.member.serialization.get("name", name if flat else "member")
        items = "".join([xml(shape.member, one, item) for one in value])
        return items if flat else f"<{name}>{items}</{name}>"
    return f"<{name}>{_scalar(shape, value)}</{name}>"


def _members(shape: StructureShape, value: Params) -> str:
    known = shape.members
    return "".join(
        [
            xml(known[key], one, known[key].serialization.get("name", key))
            for key, one in value.items()
            if one is not None and key in known
        ]
    )


def write_answer(service: str, operation: str, answer: Params, request_id: str) -> str:
    """Serialise an operation's answer in its service's protocol."""
    model: OperationModel = service_model(service).operation_model(operation)
    protocol = model.metadata["protocol"]
    if protocol == "json":
        return json.dumps(answer)
    shape = model.output_shape
    inner = _members(shape, answer) if shape else ""
    if protocol == "ec2":
        # Operations without an output answer <return>true</return>; the others carry their members directly.
        inner = f"<requestId>{request_id}</requestId>{inner or '<return>true</return>'}"
    else:
        result = f"<{operation}Result>{inner}</{operation}Result>" if shape else ""
        inner = f"{result}<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
    return f'<{operation}Response xmlns="{model.metadata["xmlNamespace"]}">{inner}</{operation}Response>'


def write_error(service: str, error: AwsError, request_id: str) -> str:
    """Serialise an error document in the service's protocol."""
    code, message = escape(error.code), escape(error.message)
    if service == "ssm":
        return json.dumps({"__type": error.code, "message": error.message})
    if service == "ec2":
        inner = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        return f"<Response>{inner}<RequestID>{request_id}</RequestID></Response>"
    kind = "Sender" if error.status < 500 else "Receiver"  # noqa: PLR2004 - HTTP's own boundary
    inner = f"<Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return f"<ErrorResponse>{inner}<RequestId>{request_id}</RequestId></ErrorResponse>"
