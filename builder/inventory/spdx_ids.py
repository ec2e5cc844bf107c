"""Debian's short names of licences as SPDX identifiers.

Debian's names: Machine-readable debian/copyright file 1.0, "License specification", and what
packages write besides. SPDX's: the licence list 3.25 and its exceptions.
"""

import re

# fmt: off
_EXACT = (
    "0BSD", "AFL-2.0", "AFL-2.1", "AFL-3.0", "Apache-1.0", "Apache-1.1", "Apache-2.0",
    "Artistic-1.0", "Artistic-2.0", "Beerware", "blessing", "BSD-1-Clause", "BSD-2-Clause",
    "BSD-3-Clause", "BSD-3-Clause-Attribution", "BSD-4-Clause", "BSD-4-Clause-UC",
    "BSD-Source-Code", "BSL-1.0", "bzip2-1.0.6", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0",
    "CC-BY-SA-4.0", "CC0-1.0", "CDDL-1.0", "CPL-1.0", "curl", "EPL-1.0", "EPL-2.0", "FSFAP",
    "FSFUL", "FSFULLR", "FSFULLRWD", "FTL", "HPND", "ICU", "IJG", "Info-ZIP", "ISC", "JSON",
    "Kazlib", "Latex2e", "LPL-1.02", "MIT", "MIT-0", "MIT-CMU", "MPL-1.1", "MPL-2.0", "MS-PL",
    "NCSA", "NTP", "OFL-1.0", "OFL-1.1", "OLDAP-2.8", "OpenSSL", "PHP-3.01", "PostgreSQL",
    "PSF-2.0", "Python-2.0", "QPL-1.0", "RSA-MD", "Ruby", "SGI-B-2.0", "Sleepycat", "SMLNJ",
    "SunPro", "TCL", "TU-Berlin-1.0", "Unicode-3.0", "Unicode-DFS-2016", "Unlicense", "UPL-1.0",
    "Vim", "W3C", "WTFPL", "X11", "Zlib", "ZPL-2.1",
)
# fmt: on

_ALIASES = {
    "apache": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "artistic": "Artistic-1.0",
    "boost": "BSL-1.0",
    "boost-1.0": "BSL-1.0",
    "bsd-2-clauses": "BSD-2-Clause",
    "bsd-3-clauses": "BSD-3-Clause",
    "bsd-4-clauses": "BSD-4-Clause",
    "cc0": "CC0-1.0",
    "expat": "MIT",
    "lpgl-2.1+": "LGPL-2.1-or-later",
    "mit/x11": "MIT",
    "mit-expat": "MIT",
    "mit-x11": "MIT",
    "mpl-2": "MPL-2.0",
    "openldap-2.8": "OLDAP-2.8",
    "psf-2": "PSF-2.0",
    "sil-1.1": "OFL-1.1",
    "zlib/libpng": "Zlib",
}

_KNOWN = {name.lower(): name for name in _EXACT} | _ALIASES

# GPL, LGPL, AGPL and GFDL: GPL-2+, GPLv2+, GPL-2.0-or-later, GFDL-NIV-1.3+ ...
_GNU = re.compile(
    r"(a?gpl|lgpl|gfdl(?P<niv>-niv)?)-?v?(?P<version>[123](\.[0-9])?)(\.0)?"
    r"(?P<suffix>\+|-or-later|-only)?"
)
_GNU_VERSIONS = {
    "gpl": ("1.0", "2.0", "3.0"),
    "lgpl": ("2.0", "2.1", "3.0"),
    "agpl": ("1.0", "3.0"),
    "gfdl": ("1.1", "1.2", "1.3"),
}

_EXCEPTIONS = (
    (re.compile(r"autoconf(-data)?"), "Autoconf-exception-generic"),
    (re.compile(r"bison"), "Bison-exception-2.2"),
    (re.compile(r"classpath"), "Classpath-exception-2.0"),
    (re.compile(r"font"), "Font-exception-2.0"),
    (re.compile(r"gcc( runtime library)?|gcc-runtime(-library)?"), "GCC-exception-3.1"),
    (re.compile(r"libtool"), "Libtool-exception"),
    (re.compile(r"linux-syscall-note"), "Linux-syscall-note"),
    (re.compile(r"llvm"), "LLVM-exception"),
    (re.compile(r"texinfo"), "Texinfo-exception"),
)


def spdx_id(name: str) -> str | None:
    """The SPDX identifier of one licence, with its exception; None when SPDX has none.

    "GPL-2+" -> "GPL-2.0-or-later"; "GPL-3+ with Bison exception" -> "... WITH Bison-exception-2.2".
    """
    words = " ".join(name.lower().split())
    base, _, exception = words.partition(" with ")
    known = _KNOWN.get(base) or _gnu_id(base)
    if known is None or not exception:
        return known
    exception = re.sub(r"[ -](exception|extension)s?$", "", exception)
    for pattern, spdx_exception in _EXCEPTIONS:
        if pattern.fullmatch(exception):
            return f"{known} WITH {spdx_exception}"
    return None


def _gnu_id(name: str) -> str | None:
    match = _GNU.fullmatch(name)
    if not match:
        return None
    family = match[1].removesuffix("-niv")
    version = match["version"] if "." in match["version"] else f"{match['version']}.0"
    if version not in _GNU_VERSIONS[family]:
        return None
    invariants = "-no-invariants" if match["niv"] else ""
    later = "only" if match["suffix"] in (None, "-only") else "or-later"
    return f"{family.upper()}-{version}{invariants}-{later}"
