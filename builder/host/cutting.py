"""What looks like a secret, cut out of texts that nobody has a schema for. Pure.

A configuration has one, and its secrets are cut out by the host. Programs write what they like to
the journal: private keys (RFC 7468), passwords in URLs (RFC 3986, 3.2.1), tokens (RFC 6750, 7519).
"""

import re
from collections.abc import Mapping

CUT = "<cut out>"

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY-----")
_BASE64 = re.compile(r"[A-Za-z0-9+/=]{16,}")
# What a key in PEM has besides base64: headers of the old form (RFC 1421), such as `Proc-Type: 4`.
_HEADER = re.compile(r"(Proc-Type|DEK-Info): ")
_WORDS = (
    "(?:passwd|password|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    "|psk|credentials?)"
)
# What was cut out before, by this or by the host, stays as it is.
_VALUE = r"""(?!<cut out)("[^"]*"|'[^']*'|[^\s,;&"']+)"""
# Repetitions are bounded: who writes to a journal must not make its reader wait.
_PATTERNS = {
    # The user and the password of a URL.
    r"\b([a-z][a-z0-9+.\-]{0,20}://)[^/\s?#\"'<>]{1,1024}@": rf"\1{CUT}@",
    # Credentials of HTTP, by scheme.
    r"\b(Bearer|Basic|Digest|Negotiate)\s{1,9}[a-z0-9._~+/\-]{8,}=*": rf"\1 {CUT}",
    # Signed tokens, wherever they are: three parts in base64url, the first an object of JSON.
    r"\beyJ[a-z0-9_\-]{8,4096}\.[a-z0-9_\-]{1,8192}\.[a-z0-9_\-]*": CUT,
    # What says itself that it is secret: NAME=VALUE, NAME: VALUE, "NAME": "VALUE", --NAME VALUE.
    rf"({_WORDS}[\"']?\s{{0,9}}[=:]\s{{0,9}}){_VALUE}": rf"\1{CUT}",
    rf"(--(?:[a-z]{{1,20}}-){{0,4}}{_WORDS}\s{{1,9}})(?!-){_VALUE}": rf"\1{CUT}",
}
_PLAIN = tuple((re.compile(each, re.IGNORECASE), new) for each, new in _PATTERNS.items())
_SECRET_KEY = re.compile(rf"(?:[a-z]+[_-])*{_WORDS}", re.IGNORECASE)


def cut(text: str) -> str:
    """A text of any number of lines without what looks like a secret."""
    return Cutter().cut(text)


class Cutter:
    """Cuts texts that follow on each other: a key may go on from one to the next."""

    def __init__(self) -> None:
        self._within_key = False

    def cut(self, text: str) -> str:
        """The next text."""
        if not self._within_key and "-----BEGIN" not in text:
            return _plain(text)
        return "\n".join(self._line(line) for line in text.split("\n"))

    def _line(self, line: str) -> str:
        if self._within_key:
            if end := _END.search(line):
                self._within_key = False
                return CUT + self._line(line[end.end() :])
            if not line.strip() or _BASE64.search(line) or _HEADER.search(line):
                return CUT
            # A last line of base64 is short; what has a blank in it is none.
            if " " not in line.strip():
                return CUT
            self._within_key = False
        if begin := _BEGIN.search(line):
            self._within_key = True
            return _plain(line[: begin.start()]) + self._line(line[begin.end() :] or " ")
        return _plain(line)


def _plain(text: str) -> str:
    for pattern, replacement in _PLAIN:
        text = pattern.sub(replacement, text)
    return text


class EntryCutter:
    """Cuts entries of a journal, in which a key's lines may be entries each, between others'."""

    def __init__(self) -> None:
        self._cutters: dict[tuple[str, str], Cutter] = {}

    def cut(self, entry: Mapping[str, object]) -> dict[str, object]:
        """The next entry."""
        writer = (str(entry.get("unit")), str(entry.get("pid")))
        cutter = self._cutters.setdefault(writer, Cutter())
        return {
            key: cutter.cut(value) if isinstance(value, str) and key == "message" else value
            for key, value in entry.items()
        }


def cut_all(value: object) -> object:
    """A value of JSON, with every text in it cut."""
    match value:
        case str():
            return cut(value)
        case dict():
            return {
                str(key): CUT if isinstance(each, str) and _is_secret(str(key)) else cut_all(each)
                for key, each in value.items()
            }
        case list():
            return [cut_all(each) for each in value]
        case _:
            return value


def _is_secret(key: str) -> bool:
    return len(key) < 80 and _SECRET_KEY.fullmatch(key) is not None
