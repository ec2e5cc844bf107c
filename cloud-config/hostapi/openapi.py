"""The OpenAPI 3.1 description of this API, made from the contract. Pure."""

from collections.abc import Iterable, Mapping
from itertools import groupby

from hostapi.contract import (
    MAXIMUM_BODY,
    MAXIMUM_TEXT,
    VERSION,
    Answer,
    Endpoint,
    Kind,
    Parameter,
    Role,
)
from hostapi.port import PORT
from hostapi.refusal import STATUS, Fault
from hostapi.routing import SERVED, path_parameters, query_parameters
from hostapi.schemas import ANSWERS, ERROR, LAST_LINE, LINES, Schema

_ERROR = {"$ref": "#/components/schemas/Error"}
# What a pattern of the contract cannot say, by the parameter's name.
_NARROWER: Mapping[str, Schema] = {
    "since": {
        "anyOf": [
            {"type": "string", "format": "date-time"},
            {"type": "string", "pattern": "^[0-9]{1,8}[smhd]$"},
        ]
    },
}
_REASONS: Mapping[Fault, str] = {
    Fault.INVALID: "A value is wrong; the message names it.",
    Fault.FORBIDDEN: "The certificate does not have the role.",
    Fault.MISSING: "This host does not have it; the message says why.",
    Fault.METHOD: "The path has other methods: `Allow`.",
    Fault.BUSY: "Something is under way that excludes this.",
    Fault.LARGE: "The body is too long.",
    Fault.RATE: "Too many requests of late: `Retry-After`.",
    Fault.FAILED: "It failed; the message says how.",
    Fault.CROWDED: "Too much is open or under way: `Retry-After`.",
}
_HEADERS: Mapping[Fault, Mapping[str, Schema]] = {
    Fault.METHOD: {"Allow": {"type": "string"}},
    Fault.RATE: {"Retry-After": {"type": "string", "pattern": "^[0-9]+$"}},
    Fault.CROWDED: {"Retry-After": {"type": "string", "pattern": "^[0-9]+$"}},
}


def description() -> Schema:
    """The document as JSON values."""
    by_path = sorted(SERVED, key=lambda each: each.path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bedplate-api",
            "version": VERSION,
            "summary": "Operating a Bedplate host.",
            "description": (
                "A client shows a certificate (TLS 1.3). Its role is an O of the subject: "
                f"`{Role.READER.value}`, or `{Role.OPERATOR.value}` for all. A stream "
                "(`application/x-ndjson`) that fails after it began ends with a line "
                '`{"error": {...}}`.'
            ),
        },
        "servers": [
            {"url": f"https://{{host}}:{PORT}", "variables": {"host": {"default": "localhost"}}}
        ],
        "security": [{"certificate": []}],
        "paths": {
            f"/{VERSION}{path}": {each.method.lower(): _operation(each) for each in endpoints}
            for path, endpoints in groupby(by_path, key=lambda each: each.path)
        },
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {"certificate": {"type": "mutualTLS"}},
        },
    }


def _operation(endpoint: Endpoint) -> Schema:
    found: Schema = {
        "operationId": endpoint.name,
        "summary": endpoint.text,
        "description": f"Role `{endpoint.role.value}`.",
        "parameters": [
            *(_parameter(each, "path") for each in path_parameters(endpoint)),
            *(_parameter(each, "query") for each in query_parameters(endpoint)),
        ],
        "responses": {"200": _answer(endpoint), **dict(_errors(endpoint))},
    }
    if body := _body(endpoint):
        found["requestBody"] = body
    return found


def _parameter(parameter: Parameter, place: str) -> Schema:
    return {
        "name": parameter.name,
        "in": place,
        "description": parameter.text,
        "required": parameter.required or place == "path",
        "schema": value_schema(parameter),
    }


def value_schema(parameter: Parameter) -> Schema:
    """What a value must be like."""
    if parameter.name in _NARROWER:
        return _NARROWER[parameter.name]
    found: Schema = {"type": parameter.kind.value}
    if parameter.kind is Kind.TEXT:
        found |= {
            "pattern": f"^(?:{parameter.pattern})$",
            "minLength": 1,
            "maxLength": MAXIMUM_TEXT,
        }
    if parameter.kind is Kind.INTEGER:
        low, high = parameter.bounds
        found |= {"minimum": low, "maximum": high}
    return found


def _body(endpoint: Endpoint) -> Schema | None:
    if endpoint.document:
        text = {"type": "string", "maxLength": MAXIMUM_BODY}
        return {"required": True, "content": {"text/plain": {"schema": text}}}
    if not endpoint.fields:
        return None
    required = [each.name for each in endpoint.fields if each.required]
    values: Schema = {
        "type": "object",
        "properties": {
            each.name: value_schema(each) | {"description": each.text} for each in endpoint.fields
        },
        "required": required,
        "additionalProperties": False,
    }
    return {"required": bool(required), "content": {"application/json": {"schema": values}}}


def _answer(endpoint: Endpoint) -> Schema:
    match endpoint.answer:
        case Answer.JSON:
            schema = ANSWERS[endpoint.name]
        case Answer.LINES:
            # OpenAPI 3.1 has no word for a sequence of values: the text, and what a line is.
            line = {"anyOf": [LINES[endpoint.name], LAST_LINE]}
            schema = {"type": "string", "contentMediaType": "application/json", "x-line": line}
        case Answer.TEXT | Answer.BYTES:
            schema = {}
    return {"description": endpoint.text, "content": {endpoint.answer.value: {"schema": schema}}}


def _errors(endpoint: Endpoint) -> Iterable[tuple[str, Schema]]:
    faults = set(Fault) - {Fault.BUSY, Fault.LARGE}
    if endpoint.act:
        faults.add(Fault.BUSY)
    if endpoint.document or endpoint.fields:
        faults.add(Fault.LARGE)
    for fault in sorted(faults, key=STATUS.__getitem__):
        found: Schema = {
            "description": _REASONS[fault],
            "content": {"application/json": {"schema": _ERROR}},
        }
        if headers := _HEADERS.get(fault):
            found["headers"] = {name: {"schema": each} for name, each in headers.items()}
        yield str(STATUS[fault]), found
