# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""What is written about manifests for editors and for people, made from what their reader knows."""

from dataclasses import dataclass
from typing import Any

from hostkit.document import reference
from hostkit.document.schema import Section, key
from podagent.manifest import documents
from podagent.manifest.documents import DOCUMENTS, REFUSED_KINDS

_FIRST = "## `Pod`\n"
_INTRODUCTION = """\
# Pod manifests

A manifest declares one workload and what belongs to it, in Kubernetes' YAML. This page is generated
from the reader's own table (`bedplate fleet schema --markdown`), so it lists every field there is;
[pods](pods.md) says what becomes of it.

```yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: web
          image: registry.example.org/nginx:1.29
          envFrom:
            - configMapRef: {name: settings}
          ports:
            - {name: http, containerPort: 80}
          readinessProbe:
            httpGet: {path: /, port: http}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  WORKERS: "4"
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports:
    - {port: 80, targetPort: http}
```

- **A manifest** is one YAML stream in UTF-8, of 1 MiB at most: one `Pod`, `Deployment` or
  `DaemonSet`, any number of `ConfigMap`s and `Secret`s, and one `Service` at most. Kinds and fields
  mean what they mean in Kubernetes.
- **Names that are used must be there**: a volume, a port, a ConfigMap's key, a Service's selector.
- **Nothing is passed over in silence.** A field that is not on this page is refused with its place
  and its path, `web.yaml:14:11: spec.template.spec.containers[0].tty: ...`, and so is one that
  podman would not obey. What a tool left empty (`status: {}`, `creationTimestamp: null`) is taken.
- **A host's own manifest** (`bedplate.pods`, `/etc/bedplate/pods/`) is a `Pod` with its ConfigMaps
  and Secrets, without `nodeName` and `nodeSelector`.
- **Scalars follow YAML 1.2**: `off` and `no` are texts. Where a text is expected, a number or
  `true` has to be quoted, as in Kubernetes. Anchors work; tags and merge keys do not.
- **No message shows what is in a Secret.**
- For an editor: `bedplate fleet schema > manifest.schema.json`, and in the first line of the YAML
  `# yaml-language-server: $schema=manifest.schema.json`.
"""


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Every kind, so that what several of them have in common stands on the page once."""

    pod: documents.Pod | None = key(DOCUMENTS["Pod"], "", default=None, name="Pod")
    deployment: documents.Deployment | None = key(
        DOCUMENTS["Deployment"], "", default=None, name="Deployment"
    )
    daemon_set: documents.DaemonSet | None = key(
        DOCUMENTS["DaemonSet"], "", default=None, name="DaemonSet"
    )
    service: documents.Service | None = key(DOCUMENTS["Service"], "", default=None, name="Service")
    config_map: documents.ConfigMap | None = key(
        DOCUMENTS["ConfigMap"], "", default=None, name="ConfigMap"
    )
    secret: documents.Secret | None = key(DOCUMENTS["Secret"], "", default=None, name="Secret")


SCHEMA = Section(_Kinds)


def json_schema() -> dict[str, object]:
    """JSON Schema of one document of a manifest."""
    kinds: list[dict[str, Any]] = []
    for name, section in DOCUMENTS.items():
        schema: dict[str, Any] = reference.json_schema(section, name)
        del schema["$schema"]
        schema["properties"]["kind"] = {"const": name, "description": f"{name}."}
        kinds.append(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A document of a Bedplate pod manifest",
        "anyOf": kinds,
    }


def markdown() -> str:
    """The reference page, docs/pod-manifests.md."""
    _, first, sections = reference.tables(SCHEMA).partition(_FIRST)
    refused = "".join(f"| `{name}` | {instead} |\n" for name, instead in REFUSED_KINDS.items())
    return (
        f"{_INTRODUCTION}\n## Kinds that are refused\n\n"
        f"| kind | instead |\n|---|---|\n{refused}\n{first}{sections}"
    )
