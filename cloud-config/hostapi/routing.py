"""From a request's line and body to an endpoint and its arguments, by the contract. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote_to_bytes

from hostapi.contract import (
    ENDPOINTS,
    MAXIMUM_BODY,
    VERSION,
    Endpoint,
    Parameter,
    Value,
    read_all,
)
from hostapi.refusal import Fault, RefusedError
from updater.errors import InputError

_NO_VALUES: Mapping[str, Value] = MappingProxyType({})
_MOST_PARAMETERS = 32
# A body of fields: names and values of at most 256 characters, a handful of them.
MAXIMUM_FIELDS = 16 << 10  # bytes
DESCRIPTION = Endpoint(
    "openapi", "GET", "/openapi.json", "This description of the API, OpenAPI 3.1."
)
SERVED: tuple[Endpoint, ...] = (*ENDPOINTS, DESCRIPTION)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks for; `arguments` are checked, of path, query and body together.

    A `document` is UTF-8: as a text it may take four times the memory.
    """

    endpoint: Endpoint
    arguments: Mapping[str, Value] = field(default_factory=lambda: _NO_VALUES)
    document: bytes | None = None


def path_parameters(endpoint: Endpoint) -> tuple[Parameter, ...]:
    """Those that stand in the path."""
    return tuple(each for each in endpoint.parameters if f"{{{each.name}}}" in endpoint.path)


def query_parameters(endpoint: Endpoint) -> tuple[Parameter, ...]:
    """Those that stand in the query."""
    inside = path_parameters(endpoint)
    return tuple(each for each in endpoint.parameters if each not in inside)


def maximum_body(endpoint: Endpoint) -> int:
    """How long its body may be, in bytes."""
    if endpoint.document:
        return MAXIMUM_BODY
    return MAXIMUM_FIELDS if endpoint.fields else 0


def _pattern(endpoint: Endpoint) -> re.Pattern[str]:
    pieces = re.split(r"\{([a-z]+)\}", f"/{VERSION}{endpoint.path}")
    text = "".join(
        f"(?P<{piece}>[^/]+)" if at % 2 else re.escape(piece) for at, piece in enumerate(pieces)
    )
    return re.compile(text)


_ROUTES = tuple((_pattern(each), each) for each in SERVED)


@dataclass(frozen=True, slots=True)
class Route:
    """The endpoint that a request's line means, and what stands beside its name as it came."""

    endpoint: Endpoint
    inside: Mapping[str, str]
    query: str


def find(method: str, target: str) -> Route:
    """The endpoint of a request.

    Raises:
        RefusedError: there is no such path; it has no such method.
    """
    path, _, query = target.partition("?")
    matches = [(each, found) for route, each in _ROUTES if (found := route.fullmatch(path))]
    if not matches:
        raise RefusedError(Fault.MISSING, "no such path; /v1/openapi.json lists what there is")
    for endpoint, found in matches:
        if endpoint.method == method:
            return Route(endpoint, found.groupdict(), query)
    allowed = ", ".join(sorted(each.method for each, _ in matches))
    raise RefusedError(Fault.METHOD, f"this path has {allowed}", {"Allow": allowed})


def read(route: Route) -> Asked:
    """What is asked for, but for the body.

    Raises:
        InputError: an argument in path or query is wrong, and which.
    """
    given: dict[str, object] = {}
    try:
        named = {name: unquote_to_bytes(raw).decode() for name, raw in route.inside.items()}
        pairs = parse_qsl(
            route.query,
            keep_blank_values=True,
            strict_parsing=bool(route.query),
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        raise InputError("the query is not of the form name=value&name=value in UTF-8") from None
    for name, raw in pairs:
        if name in given:
            raise InputError(f"{name[:40]!r}: given more than once")
        given[name] = raw
    arguments = {
        **read_all(path_parameters(route.endpoint), named),
        **read_all(query_parameters(route.endpoint), given),
    }
    return Asked(route.endpoint, arguments)


def with_body(asked: Asked, body: bytes) -> Asked:
    """The same with what the body says.

    Raises:
        InputError: it is not what this endpoint takes.
    """
    endpoint = asked.endpoint
    if endpoint.document:
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"body: not UTF-8 at byte {error.start}") from None
        return Asked(endpoint, asked.arguments, body)
    if not endpoint.fields:
        if body:
            raise InputError("body: this endpoint takes none")
        return asked
    return Asked(endpoint, {**asked.arguments, **read_all(endpoint.fields, _object(body))})


def _object(body: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(body or b"{}", object_pairs_hook=_once)
    # A thousand brackets are no more JSON to us than a wrong one.
    except (ValueError, RecursionError):
        raise InputError("body: not JSON with each name once") from None
    if not isinstance(found, dict):
        raise InputError("body: expected a JSON object")
    return found


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found
