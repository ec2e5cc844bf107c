"""Metadata servers as clouds have them: real HTTP servers that speak each cloud's protocol.

with Server(ec2(Instance(user_data=b"#cloud-config\n"))) as server:
    ... server.url ...
"""

import json
import secrets
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1hZGVVcEtleUZvclRlc3RzMDAwMDAwMDAwMDAw me@here"
TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Instance:
    """What a cloud knows of one of its machines."""

    user_data: bytes | None = b"#cloud-config\nhostname: from-user-data\n"
    instance_id: str = "i-0123456789abcdef0"
    hostname: str = "web-1.example.internal"
    public_keys: tuple[str, ...] = (KEY,)
    private_ipv4: str = "10.0.2.15"
    public_ipv4: str = "203.0.113.7"
    ipv6: str = "2001:db8::7"
    network_data: Mapping[str, object] | None = None  # OpenStack's


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str  # without the query
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]  # by names in lower case


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    trickle: bool = False  # headers without an end, a byte at a time


Behaviour = Callable[[Request], Answer]
NOT_FOUND = Answer(b"404 - Not Found", 404)


def files(contents: Mapping[str, bytes]) -> Behaviour:
    """A plain web server, as for NoCloud; names are without the first slash."""

    def answer(request: Request) -> Answer:
        name = request.path.removeprefix("/")
        return Answer(contents[name]) if name in contents else NOT_FOUND

    return answer


def _ec2_files(instance: Instance) -> dict[str, bytes]:
    names = [f"{index}=key-{index}" for index in range(len(instance.public_keys))]
    texts = {
        "instance-id": instance.instance_id,
        "hostname": instance.hostname,
        "local-hostname": instance.hostname,
        "local-ipv4": instance.private_ipv4,
        "public-ipv4": instance.public_ipv4,
        "ipv6": instance.ipv6,
        "public-keys/": "\n".join(names),
        **{
            f"public-keys/{index}/openssh-key": f"{key}\n"
            for index, key in enumerate(instance.public_keys)
        },
    }
    contents = {f"latest/meta-data/{name}": text.encode() for name, text in texts.items() if text}
    if instance.user_data is not None:
        contents["latest/user-data"] = instance.user_data
    return contents


def ec2(instance: Instance) -> Behaviour:
    """IMDSv2 alone: nothing without a token."""
    tokens: set[str] = set()
    inner = files(_ec2_files(instance))

    def answer(request: Request) -> Answer:
        if request.method == "PUT" and request.path == "/latest/api/token":
            seconds = request.headers.get(f"{TOKEN_HEADER.lower()}-ttl-seconds", "")
            if not seconds.isdecimal() or not 1 <= int(seconds) <= 21600:
                return Answer(b"400 - Bad Request", 400)
            tokens.add(token := secrets.token_urlsafe(40))
            return Answer(token.encode(), headers={f"{TOKEN_HEADER}-ttl-seconds": seconds})
        if request.method != "GET":
            return Answer(b"", 405)
        if request.headers.get(TOKEN_HEADER.lower()) not in tokens:
            return Answer(b"401 - Unauthorized", 401)
        return inner(request)

    return answer


def gce(
    instance: Instance,
    *,
    base64: bool = False,
    attributes: Mapping[str, str] | None = None,
    project_keys: str = "",
) -> Behaviour:
    """`instance/` and `project/` as JSON, to who says that he knows that this is Google's."""
    given = {"ssh-keys": "\n".join(f"core:{key}" for key in instance.public_keys)}
    if instance.user_data is not None and base64:
        given |= {
            "user-data": b64encode(instance.user_data).decode(),
            "user-data-encoding": "base64",
        }
    elif instance.user_data is not None:
        given["user-data"] = instance.user_data.decode()
    interface = {
        "ip": instance.private_ipv4,
        "accessConfigs": [{"externalIp": instance.public_ipv4, "type": "ONE_TO_ONE_NAT"}],
        "ipv6s": [instance.ipv6],
    }
    trees: dict[str, object] = {
        "/computeMetadata/v1/instance/": {
            "id": int(instance.instance_id) if instance.instance_id.isdecimal() else 1234567890123,
            "hostname": instance.hostname,
            "zone": "projects/1/zones/europe-west1-b",
            "attributes": {**given, **(attributes or {})},
            "networkInterfaces": [interface],
        },
        "/computeMetadata/v1/project/": {
            "numericProjectId": 1,
            "attributes": {"ssh-keys": project_keys} if project_keys else {},
        },
    }
    flavor = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}

    def answer(request: Request) -> Answer:
        if request.headers.get("metadata-flavor") != "Google":
            return Answer(b"Missing Metadata-Flavor:Google header.", 403, flavor)
        if request.path not in trees or request.query.get("recursive") != ["true"]:
            return Answer(b"", 404, flavor)
        headers = {**flavor, "Content-Type": "application/json"}
        return Answer(json.dumps(trees[request.path]).encode(), headers=headers)

    return answer


def openstack_files(instance: Instance) -> dict[str, bytes]:
    """What is on a config drive, by name below it."""
    metadata = {
        "uuid": instance.instance_id,
        "hostname": instance.hostname,
        "name": "web-1",
        "availability_zone": "nova",
        "random_seed": "c2VjcmV0",
        "admin_pass": "never-shown",
        "public_keys": {f"key-{n}": f"{key}\n" for n, key in enumerate(instance.public_keys)},
    }
    contents = {
        "meta_data.json": json.dumps(metadata).encode(),
        "vendor_data.json": b"{}",
    }
    if instance.user_data is not None:
        contents["user_data"] = instance.user_data
    if instance.network_data is not None:
        contents["network_data.json"] = json.dumps(instance.network_data).encode()
    return {f"openstack/latest/{name}": content for name, content in contents.items()}


def openstack(instance: Instance) -> Behaviour:
    """Its own files, and those that are like EC2's without tokens."""
    return files({**_ec2_files(instance), **openstack_files(instance)})


def nocloud_files(instance: Instance) -> dict[str, bytes]:
    """What is on a NoCloud disk or server, by name."""
    metadata = {
        "instance-id": instance.instance_id,
        "local-hostname": instance.hostname,
        "public-keys": list(instance.public_keys),
    }
    return {"user-data": instance.user_data or b"", "meta-data": json.dumps(metadata).encode()}


@dataclass(slots=True)
class Server:
    """Serves `behaviour`; what `instead` has for a path goes first, for any method.

    Each request is noted in `asked`. Port 0 becomes one that is free. With `tls` it speaks https.
    """

    behaviour: Behaviour
    address: str = "127.0.0.1"
    port: int = 0
    instead: dict[str, Answer] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    _server: ThreadingHTTPServer | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.asked]

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._answer(self)

            do_PUT = do_POST = do_HEAD = do_GET  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """Clients hang up; that is what is tested."""

        self._server = Quiet((self.address, self.port), Handler)
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Request(handler.command, parts.path, parse_qs(parts.query), headers)
        self.asked.append(request)
        answer = self.instead.get(parts.path) or self.behaviour(request)
        if answer.trickle:
            self._trickle(handler)
            return
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)

    def _trickle(self, handler: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Much: ")
            ends = time.monotonic() + 30
            while not self._stopped.wait(0.01) and time.monotonic() < ends:
                handler.wfile.write(b"x")
        handler.close_connection = True
