# ruff: noqa: D102 (what overrides a method of Kind is documented there)
"""`bedplate.signature_policy`: which images podman takes, containers-policy.json(5)."""

import json
from collections.abc import Iterator, Mapping
from typing import TypeGuard

from hostkit.document.schema import Kind, Reading
from hostkit.document.source import Node
from updater.strict import unique_keys

_KEYS = ("default", "transports")
SIGNED = "sigstoreSigned"
_TYPES = ("insecureAcceptAnything", "reject", SIGNED)


class SignaturePolicy(Kind):
    """Such a policy as text, which podman would take: without one it pulls nothing at all."""

    @property
    def label(self) -> str:
        return "a policy in JSON with the key default, containers-policy.json(5)"

    def read(self, node: Node, reading: Reading) -> str:
        text = self.text(node, reading)
        if wrong := policy_problem(text):
            raise reading.fail(node.place, f"{wrong}; expected {self.label}")
        return text

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "pattern": '"default"'}


POLICY = SignaturePolicy()


def policy_problem(text: str) -> str | None:
    """What podman, or a host without gpg, would not take of a policy."""
    try:
        policy = json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        return f"no valid JSON: {error}"
    return next(_problems(policy), None)


def _problems(policy: object) -> Iterator[str]:
    if not _is_object(policy) or "default" not in policy:
        yield "no default"
        return
    for name in sorted(policy.keys() - set(_KEYS)):
        yield f"unknown key {name!r}; known are {', '.join(_KEYS)}"
    for path, requirements in _lists(policy):
        if not isinstance(requirements, list) or not requirements:
            yield f"{path} is no list of one requirement or more"
        else:
            yield from (wrong for each in requirements for wrong in _wrong(path, each))


def _lists(policy: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The lists of requirements, each with its path; what stands for one, but is none, too."""
    yield "default", policy["default"]
    transports = policy.get("transports", {})
    for transport, scopes in transports.items() if _is_object(transports) else [("", transports)]:
        path = f"transports.{transport}".rstrip(".")
        if _is_object(scopes):
            yield from ((f"{path}.{scope}", each) for scope, each in scopes.items())
        else:
            yield path, None


def _wrong(path: str, requirement: object) -> Iterator[str]:
    kind = requirement.get("type") if _is_object(requirement) else None
    if kind == "signedBy":
        yield f"{path}: signedBy needs gpg, which a host has not; use {SIGNED}"
    elif kind not in _TYPES:
        yield f"{path}: a requirement's type is one of {', '.join(_TYPES)}"


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, dict)
