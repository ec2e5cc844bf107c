import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.inventory.dpkg import Package, read_packages
from builder.inventory.licences import expression, parse_copyright
from builder.inventory.lock import Lock, LockedPackage
from builder.inventory.sbom import package_url, spdx_reference, write_sbom
from builder.inventory.spdx_ids import spdx_id

CREATED = datetime(2026, 11, 22, tzinfo=UTC)
STATUS = """\
Package: libstdc++6
Status: install ok installed
Maintainer: Debian GCC Maintainers <debian-gcc@lists.debian.org>
Architecture: amd64
Source: gcc-14
Version: 1:14.2.0-19+deb13u1
Homepage: http://gcc.gnu.org/
Description: GNU Standard C++ Library v3

Package: gcc-14-base
Status: install ok installed
Maintainer: A. Person <person@example.org>
Architecture: amd64
Version: 14.2.0-19

Package: none
Status: install ok installed
Architecture: all
Version: 1
"""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: someone
License: GPL-3+ with GCC Runtime Library exception

Files: debian/*
License: Expat or odd-one

License: odd-one
 Do what
 .
 you like.
"""
LOCKED = LockedPackage(
    name="libstdc++6",
    architecture="amd64",
    version="1:14.2.0-19+deb13u1",
    filename="libstdc++6_1%3a14.2.0-19+deb13u1_amd64.deb",
    sha256="ab" * 32,
    size=1,
)


def tree(root: Path) -> Path:
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(STATUS)
    docs = root / "usr/share/doc"
    (docs / "gcc-14-base").mkdir(parents=True)
    (docs / "gcc-14-base/copyright").write_text(COPYRIGHT)
    (docs / "libstdc++6").symlink_to("gcc-14-base")
    return root


def sbom(root: Path) -> dict[str, object]:
    data = write_sbom(
        root,
        read_packages(root),
        name="bedplate",
        version="1",
        lock=Lock("trixie", 1790000000, (LOCKED,)),
        created=CREATED,
    )
    document: dict[str, object] = json.loads(data)
    return document


def test_a_package_has_what_a_reader_of_an_sbom_needs(tmp_path: Path) -> None:
    document = sbom(tree(tmp_path))
    assert document["spdxVersion"] == "SPDX-2.3"
    packages = document["packages"]
    assert isinstance(packages, list)
    found = {package["name"]: package for package in packages}
    library = found["libstdc++6"]
    assert library["versionInfo"] == "1:14.2.0-19+deb13u1"
    assert library["supplier"] == (
        "Organization: Debian GCC Maintainers (debian-gcc@lists.debian.org)"
    )
    assert found["gcc-14-base"]["supplier"] == "Person: A. Person (person@example.org)"
    assert found["none"]["supplier"] == "NOASSERTION"
    assert library["checksums"] == [{"algorithm": "SHA256", "checksumValue": "ab" * 32}]
    assert library["sourceInfo"].endswith("gcc-14 1:14.2.0-19+deb13u1")
    (reference,) = library["externalRefs"]
    assert reference["referenceLocator"] == (
        "pkg:deb/debian/libstdc%2B%2B6@1:14.2.0-19%2Bdeb13u1?arch=amd64&distro=trixie"
    )
    assert re.fullmatch(
        r"GPL-3.0-or-later WITH GCC-exception-3.1 AND \(MIT OR LicenseRef-odd-one-[0-9a-f]{8}\)"
        r"|\(MIT OR LicenseRef-odd-one-[0-9a-f]{8}\) AND .*",
        library["licenseDeclared"],
    )
    assert found["none"]["licenseDeclared"] == "NOASSERTION"
    extracted = document["hasExtractedLicensingInfos"]
    assert isinstance(extracted, list)
    assert len(extracted) == 1
    assert extracted[0]["extractedText"] == "Do what\n\nyou like."


def test_every_reference_is_defined_and_every_package_contained(tmp_path: Path) -> None:
    document = sbom(tree(tmp_path))
    packages, relations = document["packages"], document["relationships"]
    assert isinstance(packages, list)
    assert isinstance(relations, list)
    ids = [package["SPDXID"] for package in packages]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.\-]+", one) for one in ids)
    assert [relation["relationshipType"] for relation in relations] == ["DESCRIBES"] + [
        "CONTAINS"
    ] * (len(ids) - 1)
    assert {relation["relatedSpdxElement"] for relation in relations} == set(ids)


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        tree(tmp_path / name)
    assert sbom(tmp_path / "a") == sbom(tmp_path / "b")
    status = tmp_path / "c/var/lib/dpkg/status"
    status.write_text(STATUS.replace("Version: 1\n", "Version: 2\n"))
    first, other = sbom(tmp_path / "a"), sbom(tmp_path / "c")
    assert first["documentNamespace"] != other["documentNamespace"]


def test_a_link_out_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "copyright").write_text(COPYRIGHT)
    root = tree(tmp_path / "root")
    (root / "usr/share/doc/none").symlink_to(outside)
    packages = sbom(root)["packages"]
    assert isinstance(packages, list)
    (found,) = [package for package in packages if package["name"] == "none"]
    assert found["licenseComments"] == "no usr/share/doc/none/copyright"


@pytest.mark.parametrize(
    ("name", "spdx"),
    [
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPLv3+", "GPL-3.0-or-later"),
        ("GPL-2.0-only", "GPL-2.0-only"),
        ("GPL-1+", "GPL-1.0-or-later"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("LGPL-2", "LGPL-2.0-only"),
        ("GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"),
        ("AGPL-3+", "AGPL-3.0-or-later"),
        ("Apache-2", "Apache-2.0"),
        ("Expat", "MIT"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("OpenLDAP-2.8", "OLDAP-2.8"),
        (
            "GPL-2 with Linux-syscall-note exception",
            "GPL-2.0-only WITH Linux-syscall-note",
        ),
        ("GPL-3+ with Bison exception", "GPL-3.0-or-later WITH Bison-exception-2.2"),
        ("GPL-2+ with some other exception", None),
        ("GPL", None),
        ("GPL-4", None),
        ("LGPL-1", None),
        ("public-domain", None),
        ("", None),
    ],
)
def test_debian_names_of_licences(name: str, spdx: str | None) -> None:
    assert spdx_id(name) == spdx


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A", "A"),
        ("A or B", "A OR B"),
        ("A and B or C", "(A AND B) OR C"),
        ("A or B, and C", "(A OR B) AND C"),
        ("A and/or B", "A AND B"),
        ("A OR A", "A"),
        ("A with x exception or B", "A with x exception OR B"),
        ("", "unnamed"),
    ],
)
def test_expressions(text: str, found: str) -> None:
    assert expression(text, str) == found


def test_other_copyright_files_declare_nothing() -> None:
    text = "This is free, see `/usr/share/common-licenses/GPL-2'.\n"
    licence = parse_copyright(text, "x")
    assert licence.expression == "NOASSERTION"
    assert licence.comment == "x is not machine-readable; it names GPL-2"
    assert parse_copyright("", "x").expression == "NOASSERTION"
    assert parse_copyright("Format: 1.0\n", "x").comment == "x names no licence"


def test_the_same_name_with_other_texts_stays_apart() -> None:
    head = "Format: 1.0\n\nFiles: *\nLicense: odd\n"
    first = parse_copyright(head + " one text\n", "x").expression
    second = parse_copyright(head + " another text\n", "x").expression
    assert first != second


@given(st.text(max_size=80))
def test_any_licence_name_gives_a_valid_expression(name: str) -> None:
    licence = parse_copyright(f"Format: 1\n\nFiles: *\nLicense: {name}\n", "x")
    assert re.fullmatch(r"[A-Za-z0-9.\-+() ]+", licence.expression)
    assert licence.expression.count("(") == licence.expression.count(")")


def test_urls_and_references_are_escaped() -> None:
    package = Package(
        name="g++",
        version="1:2~rc1+b1",
        architecture="amd64",
        source="gcc",
        source_version="1",
        installed_size=0,
        maintainer="",
        homepage=None,
        summary="",
        files=frozenset(),
        md5sums=(),
    )
    assert spdx_reference(package) == "SPDXRef-Package-gplusplus-amd64"
    assert package_url(package, "trixie").startswith("pkg:deb/debian/g%2B%2B@1:2~rc1%2Bb1?")
