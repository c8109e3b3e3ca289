"""Choosing and paging what a Describe call answers: ids, limits, filters, tokens."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, TypeVar

from hfcore.testing.aws.protocol import AwsError, Params

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hfcore.testing.aws.world import Region

T = TypeVar("T")
MAX_FILTER_VALUES = 200


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Write tags as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def find(known: Mapping[str, T], key: str, pattern: str, code: str) -> T:
    """Find one by id; what does not look like an id is `CODE.Malformed`, what is not there `CODE.NotFound`."""
    if not re.fullmatch(pattern, key):
        raise AwsError(f"{code}.Malformed", f'Invalid id: "{key}"')
    if key not in known:
        raise AwsError(f"{code}.NotFound", f"The ID '{key}' does not exist")
    return known[key]


def at_most(region: Region, most: int, items: Sequence[Any], code: str = "InvalidParameterValue") -> None:
    """Refuse, and note as a violation, more items than an operation takes in one call."""
    if len(items) > most:
        region.world.violate(f"at most {most} in one call")
        raise AwsError(code, f"The number of items requested, {len(items)}, exceeds the limit of {most}")


def _pattern(text: str) -> re.Pattern[str]:
    # EC2 knows * and ? and a backslash before a literal one.
    parts = re.findall(r"\\.|.", text, re.DOTALL)
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(p) or re.escape(p[-1]) for p in parts), re.DOTALL)


def _test(values: Sequence[str]) -> Callable[[str], bool]:
    exact = {v for v in values if not set(v) & set("*?\\")}
    wild = [_pattern(v) for v in values if v not in exact]
    return lambda text: text in exact or any(p.fullmatch(text) for p in wild)


def matching(
    items: Sequence[T],
    filters: Sequence[Params],
    fields: Mapping[str, Callable[[T], str | Sequence[str]]],
    tags: Callable[[T], Mapping[str, str]],
) -> list[T]:
    """Keep the items that every filter accepts; one filter's values are alternatives.

    Args:
        items: what there is.
        filters: `[{"Name": …, "Values": […]}]`; at most 200 values in all.
        fields: for each filter name the value or values of an item.
        tags: an item's tags, for `tag:KEY`, `tag-key`, `tag-value`.

    Raises:
        AwsError: FilterLimitExceeded, or InvalidParameterValue for an unknown filter.
    """
    if sum(len(f.get("Values", ())) for f in filters) > MAX_FILTER_VALUES:
        text = f"The maximum number of filter values specified on a single call is {MAX_FILTER_VALUES}"
        raise AwsError("FilterLimitExceeded", text)
    kept = list(items)
    for one in filters:
        name, accepts = one["Name"], _test(one.get("Values", ()))
        if name.startswith("tag:"):
            key = name[4:]
            kept = [i for i in kept if key in tags(i) and accepts(tags(i)[key])]
        elif name in {"tag-key", "tag-value"}:
            kept = [i for i in kept if any(accepts(kv[name == "tag-value"]) for kv in tags(i).items())]
        elif name in fields:
            get = fields[name]
            kept = [i for i in kept if _any(accepts, get(i))]
        else:
            raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    return kept


def _any(accepts: Callable[[str], bool], found: str | Sequence[str]) -> bool:
    return accepts(found) if isinstance(found, str) else any(map(accepts, found))


def page(items: Sequence[T], limit: int, token: str | None) -> tuple[Sequence[T], str | None]:
    """Cut one page of at most `limit` items, and give the token of the next one, or None.

    Raises:
        AwsError: InvalidNextToken, for a token that no earlier page gave.
    """
    try:
        start = int(base64.urlsafe_b64decode(token.encode()).decode().removeprefix("page-")) if token else 0
    except (ValueError, binascii.Error):
        raise AwsError("InvalidNextToken", f"The token '{token}' is invalid.") from None
    end = start + limit
    following = base64.urlsafe_b64encode(f"page-{end}".encode()).decode() if end < len(items) else None
    return items[start:end], following
