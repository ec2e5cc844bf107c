"""What is written about cloud-configs for editors and for people, made from the model."""

from cloudconfig.model.top import SCHEMA
from hostkit.document import reference

_INTRODUCTION = """\
# cloud-config

A host takes its whole configuration from one document: at every boot `/etc` is made anew from the
image and from it. This page is generated from the model (`bedplate config schema --markdown`), so
it lists every key there is.

```yaml
#cloud-config
hostname: web-1
ntp:
  servers: [time.example.org]
coreos:
  units:
    - name: prune.service
      command: start
      content: |
        [Service]
        Type=oneshot
        ExecStart=/usr/bin/podman image prune --force
bedplate:
  update:
    strategy: window
    window: {start: "02:00", length: 2h, days: [tue, wed]}
  pods:
    - name: web
      manifest: |
        apiVersion: v1
        kind: Pod
        metadata:
          name: web
        spec:
          containers:
            - name: web
              image: registry.example.org/nginx:1.29
```

- **The first line** is `#cloud-config`, and the rest is one YAML document in UTF-8, of 4 MiB at
  most; it may be compressed with gzip. A script (`#!`), an Ignition configuration, MIME with
  several parts, `#include` and templates are refused, and the error says what to use.
- **Keys** may be written as CoreOS did: `reboot-strategy` and `reboot_strategy` are the same.
- **Scalars are read as they are written**: `off`, `no`, `0744` and `14:00` need no quotes. Only
  the key decides whether a value is text, a number or true or false (also `yes`, `no`, `on` and
  `off`). A text that begins with `*`, `&`, `!`, `%`, `@`, a backtick, `{` or `[` has to be quoted,
  as in all YAML. Anchors work; tags and merge keys do not.
- **Addresses**: `$public_ipv4`, `$private_ipv4`, `$public_ipv6` and `$private_ipv6` are replaced
  anywhere in the document by what its source knows of the host. Where it knows nothing, the
  private ones are the addresses with which the host speaks to others, so such a document waits for
  the network; the public ones are empty. `\\$private_ipv4` stays `$private_ipv4`. On a workstation
  example addresses stand for them.
- **Nothing is passed over in silence.** An unknown key is an error, with the nearest known one. A
  key of CoreOS or cloud-init that cannot work here (`packages`, `runcmd`, `fleet`) is an error
  that says what to use; one that changes nothing here (`growpart`, `ssh_pwauth`) is a warning. A
  document with an error is not applied at all: the last good one stays in force.
- **A message never shows a value that may be secret**: contents, passwords, keys, URLs.
- **Where it comes from**: [sources](cloud-config-sources.md). **Network**:
  [the words of `bedplate.network`](cloud-config-network.md).

Before a host sees it:

- `bedplate config validate FILE...` reports every problem as `file:line:column: message`.
- `bedplate config plan FILE` prints what a host would do; `bedplate config render FILE --output
  FOLDER` writes the files that it would write.
- For an editor: `bedplate config schema > cloud-config.schema.json`, and in the second line of the
  YAML `# yaml-language-server: $schema=cloud-config.schema.json`.
"""


def json_schema() -> dict[str, object]:
    """JSON Schema of a document; both spellings of a key are in it."""
    return reference.json_schema(SCHEMA, "Bedplate cloud-config", as_coreos=True)


def markdown() -> str:
    """The reference page, docs/cloud-config.md."""
    return f"{_INTRODUCTION}\n{reference.tables(SCHEMA)}"
