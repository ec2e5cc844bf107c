"""NoCloud's files from a web server: `ds=nocloud;s=https://.../`.

It stands on the kernel's command line or, as all of it or one word, in the serial number that the
firmware gives (SMBIOS type 1), as cloud-init has it.
"""

from urllib.parse import urlsplit

from cloudconfig.sources import nocloud, web
from cloudconfig.sources.base import Machine, Offer, Source, SourceError

_NAME = "nocloud-net"
_DATASOURCES = frozenset({"nocloud", "nocloud-net"})
_SHORT = {"s": "seedfrom", "h": "local-hostname", "i": "instance-id"}


def _seed(machine: Machine) -> tuple[dict[str, str], str]:
    """What `ds=nocloud` says by key, and where it stands; empty if there is none."""
    places = (
        (f"ds={machine.argument('ds')}", "the kernel's command line"),
        (machine.dmi("product_serial"), "the system's serial number"),
    )
    for words, place in places:
        for word in words.split():
            datasource, *pairs = word.removeprefix("ds=").split(";")
            if word.startswith("ds=") and datasource.lower() in _DATASOURCES:
                found = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
                return {_SHORT.get(key, key): value for key, value in found.items()}, place
    return {}, ""


def _present(machine: Machine) -> str:
    seed, place = _seed(machine)
    # Without a URL it just names a disk, which has a source of its own.
    return f"{place} says ds=nocloud with a URL" if "seedfrom" in seed else ""


def _look(machine: Machine) -> Offer | None:
    seed, _ = _seed(machine)
    url = web.checked(seed.get("seedfrom", ""))
    if not url.endswith("/") and not urlsplit(url).query:
        url += "/"
    session = web.Session()

    def read(name: str, limit: int) -> bytes | None:
        return session.get(url + name, limit)

    given = nocloud.Given(seed.get("instance-id", ""), seed.get("local-hostname", ""))
    try:
        return nocloud.offer(_NAME, read, given)
    except SourceError as error:
        raise SourceError(f"{web.shown(url)}: {error}") from error


SOURCE = Source(_NAME, _present, _look, needs_network=True)
