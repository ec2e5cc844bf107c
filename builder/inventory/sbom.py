"""The bill of materials: SPDX 2.3 in JSON, one SPDX package for each Debian package.

The same tree gives the same bytes: the time comes from the caller, and the document's namespace
from a hash of its content (SPDX 2.3, 6.5 and 7).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from builder.inventory.dpkg import Package
from builder.inventory.licences import NOASSERTION, Licence, read_licence
from builder.inventory.lock import Lock
from updater.strict import render_time

DOCUMENT = "SPDXRef-DOCUMENT"
IMAGE = "SPDXRef-Image"
_MAINTAINER = re.compile(r"(.*?)\s*<([^<>]+)>")
_TEAM = re.compile(
    r"team|group|maintainers|developers|project|packagers|lists\.|tracker\.", re.IGNORECASE
)


def write_sbom(
    root: Path,
    packages: Sequence[Package],
    *,
    name: str,
    version: str,
    lock: Lock,
    created: datetime,
) -> bytes:
    """The bill of materials of the tree at `root`, taken before its documentation is pruned."""
    licences = {package: read_licence(root, package) for package in packages}
    document = spdx_document(licences, name=name, version=version, lock=lock, created=created)
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def spdx_document(
    licences: Mapping[Package, Licence],
    *,
    name: str,
    version: str,
    lock: Lock,
    created: datetime,
) -> dict[str, object]:
    """An SPDX 2.3 document: an image that contains the packages."""
    packages = sorted(licences, key=lambda package: (package.name, package.architecture))
    content: dict[str, object] = {
        "packages": [
            _image(name, version),
            *(_package(package, licences[package], lock) for package in packages),
        ],
        "relationships": [
            _relation(DOCUMENT, "DESCRIBES", IMAGE),
            *(_relation(IMAGE, "CONTAINS", spdx_reference(package)) for package in packages),
        ],
        "hasExtractedLicensingInfos": _extracted(licences.values()),
    }
    text = json.dumps(content, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": f"{name}-{version}",
        "documentNamespace": f"https://spdx.org/spdxdocs/{name}-{version}-{digest[:32]}",
        "creationInfo": {
            "created": render_time(created.astimezone(UTC)),
            "creators": ["Tool: bedplate"],
        },
        **content,
    }


def spdx_reference(package: Package) -> str:
    """A package's identifier in the document: letters, digits, dots and dashes only."""
    name = package.name.replace("+", "plus")
    return f"SPDXRef-Package-{name}-{package.architecture}"


def package_url(package: Package, suite: str) -> str:
    """pkg:deb/debian/NAME@VERSION?arch=...&distro=... (package-url's "deb" type)."""
    version = quote(package.version, safe=":")
    return (
        f"pkg:deb/debian/{quote(package.name, safe='')}@{version}"
        f"?arch={quote(package.architecture, safe='')}&distro={quote(suite, safe='')}"
    )


def _image(name: str, version: str) -> dict[str, object]:
    return {
        "SPDXID": IMAGE,
        "name": name,
        "versionInfo": version,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "downloadLocation": NOASSERTION,
        "filesAnalyzed": False,
        "licenseConcluded": NOASSERTION,
        "licenseDeclared": NOASSERTION,
        "copyrightText": NOASSERTION,
    }


def _package(package: Package, licence: Licence, lock: Lock) -> dict[str, object]:
    found: dict[str, object] = {
        "SPDXID": spdx_reference(package),
        "name": package.name,
        "versionInfo": package.version,
        "supplier": _supplier(package.maintainer),
        "summary": package.summary,
        "downloadLocation": NOASSERTION,
        "filesAnalyzed": False,
        "licenseConcluded": NOASSERTION,
        "licenseDeclared": licence.expression,
        "copyrightText": NOASSERTION,
        "sourceInfo": f"built from Debian source package {package.source} {package.source_version}",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package_url(package, lock.suite),
            }
        ],
    }
    if package.homepage:
        found["homepage"] = package.homepage
    if licence.comment:
        found["licenseComments"] = licence.comment
    if locked := lock.find(package):
        found["packageFileName"] = locked.filename
        found["checksums"] = [{"algorithm": "SHA256", "checksumValue": locked.sha256}]
    return found


def _supplier(maintainer: str) -> str:
    """Debian's maintainer in SPDX's form (7.5): "Person: Name (mail)"."""
    match = _MAINTAINER.fullmatch(maintainer)
    if not match:
        return f"Organization: {maintainer}" if maintainer else NOASSERTION
    kind = "Organization" if _TEAM.search(maintainer) else "Person"
    return f"{kind}: {match[1]} ({match[2]})"


def _relation(element: str, kind: str, related: str) -> dict[str, str]:
    return {
        "spdxElementId": element,
        "relationshipType": kind,
        "relatedSpdxElement": related,
    }


def _extracted(licences: Iterable[Licence]) -> list[dict[str, str]]:
    found = {}
    for licence in licences:
        for reference, name, text in licence.extracted:
            found[reference] = {"licenseId": reference, "name": name, "extractedText": text}
    return [found[reference] for reference in sorted(found)]
