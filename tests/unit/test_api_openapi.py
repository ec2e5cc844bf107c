"""The OpenAPI description, and the server held to it by schemathesis."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from api_kit import Certificates, PlayedRoot, Running, sources
from hostapi.acting import Data, Progress, Result, Word
from hostapi.contract import BY_NAME, ENDPOINTS, VERSION, Answer, Endpoint, Kind, Parameter
from hostapi.openapi import description, value_schema
from hostapi.routing import SERVED, Asked, find
from hostapi.schemas import ANSWERS, LAST_LINE, LINES
from hostapi.sources import Sources
from updater.errors import InputError

_TIME = "2026-11-23T00:00:00Z"
_DESCRIPTION = description()
_PARAMETERS = [each for endpoint in ENDPOINTS for each in (*endpoint.parameters, *endpoint.fields)]
# What each endpoint answers here, in the form that the brief of every part has.
_AGENT = {"schema": 1, "state": "ready"}
_WHOLE: Mapping[str, dict[str, object]] = {
    "status": {
        "host": {
            "name": "a",
            "image": "bedplate",
            "version": "1",
            "slot": "a",
            "boot_id": "b",
            "booted_at": _TIME,
            "addresses": ["192.0.2.1"],
        },
        "health": {"state": "good", "detail": ""},
        "agents": {"update": _AGENT, "config": _AGENT, "overlay": None, "pods": None},
        "certificate": None,
        "last_error": "",
    },
    "boots": {"boots": [{"index": 0, "boot_id": "b", "first": _TIME, "last": _TIME}]},
    "timings": {
        **dict.fromkeys(("firmware", "loader", "initrd"), None),
        **dict.fromkeys(("kernel", "userspace", "total"), 1.5),
        "units": [{"unit": "a.service", "seconds": 0.2}],
    },
    "pods": _AGENT,
    "overlay": _AGENT,
    "crashes": {
        "crashes": [{"name": "c", "kind": "core", "at": _TIME, "bytes": 1, "program": "p"}]
    },
}
_RESULTS: Mapping[str, dict[str, object]] = {
    "update": {"status": _AGENT, "history": [], "override": None},
    "trust": {
        "roles": [{"role": "root", "version": 1, "expires": _TIME, "threshold": 2, "keys": ["k"]}]
    },
    "config": {"status": _AGENT, "document": "#cloud-config\n"},
    "config-plan": {"changes": ["a"], "faults": []},
    "extensions": {
        "extensions": [
            {"name": "e", "version": "1", "state": "merged", "reason": "", "source": "disk"}
        ]
    },
    "check": {"schema": 1},
}


async def _logs(_: Mapping[str, object]) -> AsyncIterator[Mapping[str, object]]:
    yield {"time": "2026-11-23T00:00:00.000001Z", "message": "m", "priority": 6, "boot": "b"}


def _played() -> PlayedRoot:
    async def result(asked: Asked) -> AsyncIterator[Word]:
        yield Result(_RESULTS[asked.endpoint.name])

    async def stage(_: Asked) -> AsyncIterator[Word]:
        yield Progress({"done": 1})
        yield Result({"done": "staged."})

    async def crash(_: Asked) -> AsyncIterator[Word]:
        yield Data(b"core")
        yield Result({})

    return PlayedRoot({**dict.fromkeys(_RESULTS, result), "stage": stage, "crash": crash})


def _sources() -> Sources:
    def whole(name: str) -> dict[str, object]:
        return {"schema": 1, **_WHOLE[name]}

    return sources(_logs, **{name: lambda name=name: whole(name) for name in _WHOLE})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    with Running(certificates, _sources(), _played()) as found:
        yield found


@pytest.fixture(scope="module")
def session(running: Running) -> Iterator[requests.Session]:
    with running.certificates.session("olga") as found:
        yield found


_POSITIVE, _NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
_TAKES = {each.name for each in SERVED if each.parameters or each.fields}
_SCHEMA = schemathesis.openapi.from_dict(_DESCRIPTION)
Operation = schemathesis.APIOperation[Any, Any, Any, Any]
_OPERATIONS: list[tuple[Operation, schemathesis.GenerationMode]] = [
    (operation, mode)
    for operation in (_SCHEMA[path][method] for path in _SCHEMA for method in _SCHEMA[path])
    for mode in (_POSITIVE, _NEGATIVE)
    # Where nothing is taken there is nothing to get wrong.
    if mode is _POSITIVE or operation.definition.raw["operationId"] in _TAKES
]


@pytest.mark.parametrize(
    ("operation", "mode"), _OPERATIONS, ids=lambda each: getattr(each, "label", "") or each.value
)
def test_the_server_is_as_described(
    operation: Operation,
    mode: schemathesis.GenerationMode,
    running: Running,
    session: requests.Session,
) -> None:
    @seed(1)
    @settings(
        max_examples=12,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case[Operation]) -> None:
        base = running.url.removesuffix("/v1")
        answer = case.call(base_url=base, session=session, verify=session.verify)
        case.validate_response(answer)

    check()


def test_every_endpoint_is_described() -> None:
    assert {operation.label for operation, _ in _OPERATIONS} == {
        f"{each.method} /{VERSION}{each.path}" for each in SERVED
    }
    for each in SERVED:
        assert each.name in (LINES if each.answer is Answer.LINES else ANSWERS) or (
            each.answer in {Answer.TEXT, Answer.BYTES}
        )


def test_the_description_is_served(running: Running) -> None:
    assert running.ask("rita", "/openapi.json").json() == _DESCRIPTION
    assert running.ask("nobody", "/openapi.json").status_code == 403


@pytest.mark.parametrize("parameter", _PARAMETERS, ids=lambda each: each.name)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_values_of_the_schema_are_taken(parameter: Parameter, data: st.DataObject) -> None:
    """A pattern is read alike by Python and by whoever reads the description."""
    schema = value_schema(parameter)
    if "pattern" not in schema:
        return
    pattern = re.compile(str(schema["pattern"]).removesuffix("$") + r"\Z", re.ASCII)
    drawn = data.draw(st.from_regex(pattern))
    if len(drawn) <= 256:
        assert parameter.read(drawn) == drawn


@pytest.mark.parametrize("parameter", _PARAMETERS, ids=lambda each: each.name)
def test_bounds_are_the_contracts(parameter: Parameter) -> None:
    if parameter.kind is not Kind.INTEGER:
        return
    schema = value_schema(parameter)
    for name, step in (("minimum", -1), ("maximum", 1)):
        bound = schema[name]
        assert isinstance(bound, int)
        assert parameter.read(bound) == bound
        with pytest.raises(InputError):
            parameter.read(bound + step)


@given(st.sampled_from(_PARAMETERS), st.text(max_size=20))
def test_what_is_taken_is_of_the_schema(parameter: Parameter, text: str) -> None:
    try:
        value = parameter.read(text)
    except InputError:
        return
    if parameter.name != "since":
        jsonschema_rs.validate(value_schema(parameter), value)


@pytest.mark.parametrize("each", ENDPOINTS, ids=lambda each: each.name)
def test_every_path_leads_to_its_endpoint(each: Endpoint) -> None:
    path = each.path.replace("{name}", "a")
    assert find(each.method, f"/v1{path}").endpoint is BY_NAME[each.name]


def test_a_last_line_is_an_error() -> None:
    jsonschema_rs.validate(LAST_LINE, {"error": {"code": "failed", "message": "m"}})
