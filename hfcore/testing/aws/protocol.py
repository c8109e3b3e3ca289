"""AWS's wire formats by botocore's service models: requests in, answers and errors out; ids, filters, pages, tags."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.loaders import Loader
from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StructureShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hfcore.testing.aws.world import Region

    Fields = Mapping[str, Callable[[Any], Iterable[str]]]
    TagsOf = Callable[[Any], Mapping[str, str]]

T = TypeVar("T")
MAX_FILTER_VALUES = 200
SERVICES = ("ec2", "autoscaling", "ssm", "sts", "iam", "sqs")
JSON_SERVICES = ("ssm", "sqs")
Open = Any  # AWS documents are open: botocore's models say what is in them, not types
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
    """Give what botocore knows of a service."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


class _Reader:
    """Reads one request by its operation's input shape, refusing what the model does not know."""

    def __init__(self, service: str) -> None:
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
        name = str(member.serialization.get("name", key))
        return str(member.serialization.get("queryName", name[0].upper() + name[1:])) if self.ec2 else name

    def _check(self, shape: Shape, value: Open, name: str) -> None:
        # botocore's client checks neither enumerations nor upper bounds: AWS does.
        size = value if isinstance(value, int | float) else len(value)
        low, high = shape.metadata.get("min", size), shape.metadata.get("max", size)
        known = getattr(shape, "enum", None)
        if not low <= size <= high or (known and shape.name != "InstanceType" and value not in known):
            raise self._invalid(name, value)

    def _invalid(self, name: str, value: Open) -> AwsError:
        code = "InvalidParameterValue" if self.ec2 else "ValidationError"
        return AwsError(code, f"Value ({str(value)[:80]}) for parameter {name} is invalid.")


_SCALARS: Params = {"integer": int, "long": int, "double": float}
_SCALARS["timestamp"] = lambda text: datetime.fromisoformat(text).timestamp()
_SCALARS["boolean"] = lambda text: ("false", "true").index(text.lower()) == 1
_TEXTS: Params = {"double": lambda value: str(float(value)), "boolean": lambda value: str(value).lower()}
_TEXTS["timestamp"] = lambda value: datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _tree(body: str) -> Params:
    tree: Params = {}
    for key, value in parse_qsl(body, keep_blank_values=True):
        *path, leaf = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return tree


def read_request(service: str, body: str, target: str) -> tuple[str, Params]:
    """Give the operation's name and its typed parameters, from the form or JSON and the header `X-Amz-Target`."""
    model = service_model(service)
    if model.metadata["protocol"] == "json":
        return target.rpartition(".")[2], json.loads(body or "{}")
    try:
        tree = _tree(body)
        name, _ = tree.pop("Action", ""), tree.pop("Version", None)
        if name not in model.operation_names:
            raise AwsError("InvalidAction", f"The action {name} is not valid for this web service.")
        shape = model.operation_model(name).input_shape
        return name, _Reader(service).value(shape, tree, "") if shape else {}
    except (TypeError, ValueError, AttributeError) as error:  # a list without numbers, a structure without members
        raise AwsError("MalformedQueryString", f"The query string is malformed: {error}") from None


def _xml(shape: Shape, value: Open, name: str) -> str:
    """Serialise `value` by `shape` as the element `name`; what the shape lacks is left out, None too."""
    if isinstance(value, Raw):
        return value
    if isinstance(shape, StructureShape):
        return f"<{name}>{_members(shape, value)}</{name}>"
    if isinstance(shape, ListShape):
        item = shape.member.serialization.get("name", "member")
        return f"<{name}>{''.join([_xml(shape.member, one, item) for one in value])}</{name}>"
    return f"<{name}>{escape(_TEXTS.get(shape.type_name, str)(value))}</{name}>"


@lru_cache
def _instance_shape() -> Shape:
    return service_model("ec2").shape_for("Instance")


def fragment(described: Params) -> Raw:
    """Serialise an instance, to be kept."""
    return Raw(_xml(_instance_shape(), described, "item"))


def _members(shape: StructureShape, value: Params) -> str:
    known = shape.members
    there = [(key, known[key], one) for key, one in value.items() if one is not None and key in known]
    return "".join([_xml(member, one, member.serialization.get("name", key)) for key, member, one in there])


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
    if service in JSON_SERVICES:
        return json.dumps({"__type": error.code, "message": error.message})
    if service == "ec2":
        inner = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        return f"<Response>{inner}<RequestID>{request_id}</RequestID></Response>"
    kind = "Sender" if error.status < 500 else "Receiver"  # noqa: PLR2004 - HTTP's own boundary
    inner = f"<Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return f"<ErrorResponse>{inner}<RequestId>{request_id}</RequestId></ErrorResponse>"


def tag_list(tags: Mapping[str, str]) -> list[Params]:
    """Write tags as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def read_tags(tags: Iterable[Params]) -> dict[str, str]:
    """Read tags as AWS lists them."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags}


def find(known: Mapping[str, T], key: str, pattern: str, code: str) -> T:
    """Find one by id; what does not look like an id is `CODE.Malformed`, what is not there `CODE.NotFound`."""
    if not re.fullmatch(pattern, key):
        raise AwsError(f"{code}.Malformed", f'Invalid id: "{key}"')
    if key not in known:
        raise AwsError(f"{code}.NotFound", f"The ID '{key}' does not exist")
    return known[key]


def at_most(region: Region, most: int, items: Sequence[Any]) -> None:
    """Refuse, and note as a violation, more items than an operation takes in one call."""
    if len(items) > most:
        raise region.world.refuse("InvalidParameterValue", f"{len(items)} in one call exceed the limit of {most}")


def matching(items: Iterable[T], params: Params, fields: Fields, tags: TagsOf | None = None) -> list[T]:
    """Keep the items that every one of `Filters` accepts by one of its values; with `tags`, `tag:KEY` is one too."""
    filters, kept = params.get("Filters", ()), list(items)
    if sum(len(one.get("Values", ())) for one in filters) > MAX_FILTER_VALUES:
        raise AwsError("FilterLimitExceeded", f"The maximum number of filter values is {MAX_FILTER_VALUES}")
    for one in filters:
        name, wanted = one["Name"], set(one.get("Values", ()))
        if name in fields:
            kept = [item for item in kept if not wanted.isdisjoint(fields[name](item))]
        elif tags and name.startswith("tag:"):
            kept = [item for item in kept if tags(item).get(name[4:]) in wanted]
        else:
            raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    return kept


def page(params: Params, items: Sequence[Any], member: str, limits: range = range(1, 1001), default: int = 0) -> Params:
    """Answer one page: as many as asked for within `limits`, else `default` (0: the most); and the next one's token."""
    limit: int = params.get("MaxResults") or params.get("MaxRecords") or default or limits[-1]
    token = params.get("NextToken")
    if limit not in limits:
        code = "ValidationError" if "MaxRecords" in params else "InvalidParameterValue"
        raise AwsError(code, f"Value ({limit}) for a page is not between {limits[0]} and {limits[-1]}.")
    try:
        start = int(base64.urlsafe_b64decode(token).removeprefix(b"page-")) if token else 0
    except ValueError:
        raise AwsError("InvalidNextToken", f"The token '{token}' is invalid.") from None
    end = start + limit
    following = base64.urlsafe_b64encode(f"page-{end}".encode()).decode() if end < len(items) else None
    return {member: items[start:end], "NextToken": following}
