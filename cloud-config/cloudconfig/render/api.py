"""`bedplate.api`: what `hostapi.certificate` puts into force.

That program starts and stops the API's socket, as there is nothing to listen with before there is
a certificate. It is started by its timer, which no boot waits for.
"""

import json
from pathlib import PurePosixPath

from cloudconfig.certificates import blocks, in_pem
from cloudconfig.desired import Affects, Desired, File
from cloudconfig.facts import Facts
from cloudconfig.model.top import CloudConfig
from cloudconfig.render.hosts import name_of
from hostapi import port
from hostapi.port import PORT

FOLDER = PurePosixPath("/") / port.FOLDER
_DROP_IN = PurePosixPath("/etc/systemd/system/bedplate-api.socket.d/50-port.conf")
# A run that is under way has read the old files; one that is not is for the timer to start.
_AFFECTS = (
    Affects("bedplate-api-certificate.service"),
    Affects("bedplate-api-certificate.timer"),
)
_PODS = Affects("bedplate-pods.service")  # the host's record in etcd names the port


def render(config: CloudConfig, facts: Facts) -> Desired:
    """Files in /etc/bedplate/api, written anew from what was understood of them; the port."""
    api = config.bedplate.api
    if api is None:
        return Desired()
    items = [_file("clients.pem", _in_pem(api.ca))]
    if api.crl:
        items.append(_file("revoked.pem", _in_pem(api.crl)))
    if api.certificate and api.private_key:
        items.append(_file("host.pem", _in_pem(api.certificate)))
        items.append(_file("host.key", _in_pem(api.private_key), secret=True))
    if api.enrol:
        # Without a name here it is the one that the host has by then.
        told = {
            "url": api.enrol.url,
            "token": api.enrol.token,
            "hostname": name_of(config, facts),
        }
        items.append(_file("enrol.json", json.dumps(told, indent=2) + "\n", secret=True))
    if api.port != PORT:
        items.append(File(FOLDER / "port", f"{api.port}\n".encode(), affects=(*_AFFECTS, _PODS)))
        # The empty one takes the image's away (systemd.socket(5)).
        text = f"[Socket]\nListenStream=\nListenStream={api.port}\n"
        items.append(File(_DROP_IN, text.encode(), affects=_AFFECTS))
    return Desired(items=tuple(items))


def _file(name: str, text: str, *, secret: bool = False) -> File:
    mode = 0o600 if secret else 0o644
    return File(FOLDER / name, text.encode(), mode=mode, affects=_AFFECTS, secret=secret)


def _in_pem(text: str) -> str:
    return "".join(in_pem(der, label) for label, der in blocks(text))
