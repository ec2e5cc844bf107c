"""What a large cloud-config costs: parse and plan of 1 MB, in a process of its own.

`python -m tests.bench.config KIND` is that process; it prints its figures as JSON.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.run import run

from .figures import Figure, Unit

_PROJECT = Path(__file__).resolve().parents[2]
SIZE = 1_000_000  # bytes
_UNIT = """\
    - name: job-{number}.service
      enable: true
      content: |
        [Service]
        ExecStart=/usr/bin/true {number}
{environment}        [Install]
        WantedBy=multi-user.target
"""
_ENVIRONMENT = "".join(f"        Environment=NAME_{at}=abcdefghijklm\n" for at in range(8))
_FILE = """\
  - path: /etc/files/{number}
    permissions: 0600
    owner: root:root
    encoding: base64
    content: aGVsbG8gd29ybGQ=
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a processor from the bytes to the plan, and the most memory there was."""

    seconds: float
    peak: int  # bytes


def _units() -> str:
    count = SIZE // len(_UNIT.format(number=1000, environment=_ENVIRONMENT))
    units = [_UNIT.format(number=number, environment=_ENVIRONMENT) for number in range(count)]
    return "#cloud-config\ncoreos:\n  units:\n" + "".join(units)


def _files() -> str:
    count = SIZE // len(_FILE.format(number=1000))
    files = [_FILE.format(number=number) for number in range(count)]
    return "#cloud-config\nwrite_files:\n" + "".join(files)


def _block() -> str:
    line = "      " + "x" * 73 + "\n"
    head = "#cloud-config\nwrite_files:\n  - path: /etc/a\n    content: |\n"
    return head + line * (SIZE // len(line))


DOCUMENTS: Mapping[str, Callable[[], str]] = {
    "units of 500 bytes": _units,
    "one file": _block,
    "files of 130 bytes": _files,
}


def figures() -> list[Figure]:
    """Two for each kind of document, with the aims of issue 3."""
    found = []
    for kind in DOCUMENTS:
        cost = Cost(
            **json.loads(run([sys.executable, "-m", "tests.bench.config", kind], cwd=_PROJECT))
        )
        name = f"parse + plan of a 1 MB cloud-config, {kind}"
        found.append(Figure(name, cost.seconds, Unit.SECONDS, 1))
        found.append(Figure(f"{name}: peak", cost.peak, Unit.BYTES, 64 << 20))
    return found


def _cost(kind: str) -> Cost:
    # Imports are of the process, and are not what is measured.
    from cloudconfig.document import read_document  # noqa: PLC0415
    from cloudconfig.facts import Facts  # noqa: PLC0415
    from cloudconfig.plan import Observed, make_plan  # noqa: PLC0415
    from cloudconfig.rendering import render_all  # noqa: PLC0415

    data = DOCUMENTS[kind]().encode()
    started = time.process_time()
    document = read_document(data, Path("user-data"))
    changes = make_plan(render_all(document.config, Facts()), Observed(booting=True))
    seconds = time.process_time() - started
    if not changes:
        raise AssertionError(kind)
    # Not getrusage's: that begins with what the process had that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return Cost(seconds, int(status["VmHWM"].split()[0]) << 10)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_cost(sys.argv[1]))) + "\n")
