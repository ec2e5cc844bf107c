"""A request, made from `hostapi.contract` and nothing else. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from hostapi import contract
from hostapi.contract import Endpoint, Value
from updater.errors import InputError


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; `path` has its query, `media` is the type of `body`."""

    endpoint: Endpoint
    path: str
    body: bytes | None = None
    media: str = ""


def ask(
    name: str, arguments: Mapping[str, object] | None = None, document: str | None = None
) -> Asked:
    """The request for the endpoint of that name; what is None among the arguments is left out.

    Raises:
        InputError: the host would refuse an argument or the document.
    """
    endpoint = contract.BY_NAME[name]
    expected = endpoint.parameters + endpoint.fields
    given = {key: value for key, value in (arguments or {}).items() if value is not None}
    values = contract.read_all(expected, given)
    path, query = f"/{contract.VERSION}{endpoint.path}", {}
    for each in endpoint.parameters:
        if each.name not in values:
            continue
        text = _text(values[each.name])
        place = f"{{{each.name}}}"
        if place in path:
            path = path.replace(place, quote(text, safe=""))
        else:
            query[each.name] = text
    if query:
        path += "?" + urlencode(query)
    if endpoint.document:
        return Asked(endpoint, path, _document(document), "text/plain; charset=utf-8")
    if endpoint.fields:
        fields = {each.name: values[each.name] for each in endpoint.fields if each.name in values}
        return Asked(endpoint, path, json.dumps(fields).encode("ascii"), "application/json")
    return Asked(endpoint, path)


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _document(text: str | None) -> bytes:
    body = (text or "").encode()
    if len(body) > contract.MAXIMUM_BODY:
        raise InputError(
            f"the document has {len(body)} bytes; a host takes {contract.MAXIMUM_BODY} at most"
        )
    return body
