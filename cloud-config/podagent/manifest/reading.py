"""A manifest's YAML to a checked workload, or every fault of it with its place and its path."""

from collections.abc import Iterator
from pathlib import Path

from hostkit.document.schema import Reading, Wrong, is_null, nearest
from hostkit.document.source import (
    DocumentError,
    Limits,
    Node,
    Place,
    Problem,
    Scalar,
    decode,
    parse_stream,
    shown,
)
from hostkit.document.source import Mapping as MappingNode
from podagent.manifest.checks import (
    ITEMS,
    WORKLOADS,
    Document,
    fitting,
    nodes,
    only_here,
    pod_path,
    text,
)
from podagent.manifest.contents import Contents, contents_of
from podagent.manifest.documents import DOCUMENTS, REFUSED_KINDS
from podagent.manifest.kinds import VALUE
from podagent.manifest.render import unplayable
from podagent.manifest.workload import workload_of
from podagent.types import Manifest

LIMITS = Limits(length=1 << 20)
_A_WORKLOAD = "a Pod, a Deployment or a DaemonSet"


class ManifestError(DocumentError):
    """A manifest is wrong; a line for each fault: `file:line:column: field.path: what`."""


def parse(data: bytes, path: Path, *, of_host: bool = False) -> Manifest:
    """The workload that a manifest declares.

    Args:
        data: the YAML, at most 1 MiB.
        path: how messages call it.
        of_host: it is from the host's own files, and so a Pod for this host: no Service, no
            replicas, and nothing that chooses hosts.

    Raises:
        ManifestError: it is wrong, with every fault.
    """
    try:
        streamed = parse_stream(decode(data, path, LIMITS), path, LIMITS)
    except DocumentError as error:
        raise ManifestError(error.problems) from None
    roots = [root for root in streamed if not is_null(root)]
    reading = Reading(as_kubernetes=True)
    documents = [found for root in roots if (found := _document(root, reading))]
    workloads = [each for each in documents if each.kind in WORKLOADS]
    services = [each for each in documents if each.kind == "Service"]
    maps = _contents("ConfigMap", documents, reading)
    secrets = _contents("Secret", documents, reading)
    if not workloads:
        reading.note(Place(path, 1, 1), f"a manifest declares {_A_WORKLOAD}; there is none")
    reading.problems += _second(workloads, _A_WORKLOAD)
    reading.problems += _second(services, "a Service")
    for workload in workloads[:1]:
        reading.problems += fitting(workload, services, maps, secrets)
    if of_host:
        reading.problems += only_here(workloads, services)
    _refuse(reading.problems, roots)
    manifest = workload_of(
        workloads[0].value,
        services[0].value if services else None,
        {name: known for name, known in maps.items() if known},
        {name: known for name, known in secrets.items() if known},
        of_host=of_host,
    )
    _refuse([*_unplayable(workloads[0], manifest)], roots)
    return manifest


def _refuse(problems: list[Problem], roots: list[Node]) -> None:
    if problems:
        raise ManifestError(_with_paths(problems, roots))


def _document(root: Node, reading: Reading) -> Document | None:
    kind = text(root, "kind")
    if kind is None or kind not in DOCUMENTS:
        reading.note(*_unknown(root, kind))
        return None
    try:
        return Document(kind, root, DOCUMENTS[kind].read(root, reading))
    except Wrong:  # it is noted
        return Document(kind, root, None)


def _second(documents: list[Document], what: str) -> Iterator[Problem]:
    for document in documents[1:]:
        message = f"a manifest has {what} once; put this into one of its own"
        yield Problem(document.root.place, message)


def _contents(kind: str, documents: list[Document], reading: Reading) -> dict[str, Contents | None]:
    found: dict[str, Contents | None] = {}
    for document in documents:
        name = text(document.root, "metadata", "name")
        if document.kind != kind or name is None:
            continue
        if name in found:
            reading.note(document.root.place, f"a second {kind} {shown(name)}")
        found[name] = None if document.value is None else contents_of(document.value)
    return found


def _unplayable(workload: Document, manifest: Manifest) -> Iterator[Problem]:
    """Texts that references made such as podman cannot take; known only when all is in place."""
    for containers, number, variable in unplayable(manifest.documents):
        path = (*pod_path(workload), "spec", containers, ITEMS)
        container = [*nodes(workload.root, *path)][number]
        message = f"the value of {shown(variable)} becomes other than {VALUE.label}"
        yield Problem(next(nodes(container, "env")).place, message)


def _unknown(root: Node, kind: str | None) -> tuple[Place, str]:
    if not isinstance(root, MappingNode):
        return root.place, f"expected a mapping with kind: {', '.join(DOCUMENTS)}"
    if kind is None:
        return root.place, f"kind is missing; expected {', '.join(DOCUMENTS)}"
    place = next(entry.value.place for entry in root.entries if entry.key.text == "kind")
    if kind in REFUSED_KINDS:
        return place, f"{kind} is not supported: {REFUSED_KINDS[kind]}"
    names = ", ".join(DOCUMENTS)
    hint = nearest(kind, [*DOCUMENTS, *REFUSED_KINDS])
    return place, f"{shown(kind)} is not supported; supported are {names}{hint}"


def _with_paths(problems: list[Problem], roots: list[Node]) -> list[Problem]:
    """Problems in the order of the text, each with its field's path before its message."""
    paths: dict[int, str] = {}
    for root in roots:
        for place, path in _paths(root, ""):
            # By identity: a mapping begins where its first key does.
            paths.setdefault(id(place), path)
    found = {
        (problem.place.line, problem.place.column, path, problem.message): problem
        for problem in problems
        for path in [paths.get(id(problem.place), "")]
    }
    return [
        Problem(found[at].place, f"{at[2]}: {at[3]}" if at[2] else at[3]) for at in sorted(found)
    ]


def _paths(node: Node, path: str) -> Iterator[tuple[Place, str]]:
    yield node.place, path
    if isinstance(node, MappingNode):
        for entry in node.entries:
            inner = f"{path}.{_step(entry.key.text)}".removeprefix(".")
            yield entry.key.place, inner
            yield from _paths(entry.value, inner)
    elif not isinstance(node, Scalar):
        for number, item in enumerate(node.items):
            yield from _paths(item, f"{path}[{number}]")


def _step(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() else f"[{shown(key)}]"
