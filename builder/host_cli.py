"""`bedplate host ADDRESS VERB`: what a person would log in to a host for; or on many at once."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hostapi.contract import Parameter, Value

    # argparse keeps this name to itself, but has no other for it.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_USAGE = """%(prog)s ADDRESS VERB ...
       %(prog)s (--hosts FILE | --label KEY=VALUE,...) [--parallel N] VERB ..."""
_DESCRIPTION = """\
Asks a host, by its API, for what a person would log in for. ADDRESS is an IP address or a
name, with :PORT if that is not 7443. With --hosts or --label there is no ADDRESS: the same is
asked of many hosts, each is told in one line, and a sum follows. Exits 1 if one of them fails.
"""
# The verbs, in the order of the handbook's page, docs/operating.md.
_VERBS = {
    "status": "what runs and how it is",
    "logs": "the journal: of this boot or one before, of a unit or a pod, followed or not",
    "boots": "the boots that the journal knows",
    "timings": "how long each step of the boot took",
    "pods": "the pods",
    "metrics": "Prometheus' text of every agent",
    "overlay": "the lease in the overlay, and the peers",
    "update": "where the update stands: what it waits for, why it failed",
    "check": "look for a release now; change nothing",
    "stage": "stage the release that is due; no reboot",
    "reboot": "drain the pods and reboot",
    "rollback": "reject the running release, and reboot into the other one",
    "override": "another channel or strategy, until the next boot",
    "config": "the configuration in force; plan a new one; compare the two",
    "trust": "the TUF metadata that the host trusts",
    "certificate": "the API's certificate; renew it",
    "extension": "list, add and remove system extensions",
    "crash": "list and fetch kernel crashes and core dumps",
    "bundle": "everything that may be read, in one archive, without secrets",
    "wipe": "begin with an empty /var; the identity is given up",
}
_WAIT_SECONDS = 900
_AT_ONCE = 8
_MOST_AT_ONCE = 256
# Of options that not every verb has. Those of a verb are suppressed where they are not given, so
# that it does not matter whether they stand before or behind a word such as `plan`.
_UNSAID: dict[str, Any] = {
    "json": False,
    "follow": None,
    "certificate_name": None,
    "settings": None,
    "identity": None,
    "key_file": None,
    "ca_file": None,
    "passphrase_file": None,
}


def add_commands(subparsers: "Subparsers") -> None:
    """Add `host` to a parser; it sets `func`, called with the arguments."""
    verbs = "\n".join(f"  {name:<12} {text}" for name, text in _VERBS.items())
    group = subparsers.add_parser(
        "host",
        help="see and change a host, or many, by their API",
        usage=_USAGE,
        description=_DESCRIPTION,
        epilog=f"verbs, each with its own --help:\n{verbs}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    several = group.add_argument_group("many hosts")
    which = several.add_mutually_exclusive_group()
    which.add_argument(
        "--hosts", type=Path, metavar="FILE", help="one ADDRESS[ NAME] a line; # begins a comment"
    )
    which.add_argument(
        "--label", metavar="KEY=VALUE,...", help="those that have these labels, from etcd"
    )
    several.add_argument(
        "--fleet", type=Path, metavar="FILE", help="where etcd is, for --label: a fleet.yaml"
    )
    several.add_argument(
        "--parallel",
        type=_count,
        default=_AT_ONCE,
        metavar="N",
        help=f"so many at the same time ({_AT_ONCE})",
    )
    group.add_argument(
        "words",
        nargs=argparse.PARSER,
        action=_Words,
        metavar="ADDRESS VERB",
        help="the host, but for many; and what to do",
    )
    group.set_defaults(func=_run)


def _run(args: argparse.Namespace) -> int:
    # Only here: TLS, tables and the rest take longer than all other commands' parsers together.
    from builder.host.run import run  # noqa: PLC0415

    return run(args)


class _Words(argparse.Action):
    """Takes `ADDRESS VERB ...`, or `VERB ...` where --hosts or --label stands before it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        _option: str | None = None,
    ) -> None:
        words = list(map(str, values or ()))
        several = namespace.hosts is not None or namespace.label is not None
        namespace.address = None if several else words.pop(0)
        if not several and namespace.address in _VERBS:
            parser.error(f"{namespace.address}: of which host? ADDRESS comes before the verb")
        for name, value in _UNSAID.items():
            setattr(namespace, name, value)
        _verbs(f"{parser.prog} {'--hosts FILE' if several else 'ADDRESS'}").parse_args(
            words, namespace
        )
        del namespace.words


def _verbs(prog: str) -> argparse.ArgumentParser:
    """The parser of what comes after the address; each verb sets `verb`."""
    from hostapi.contract import BY_NAME  # noqa: PLC0415 - as in _run

    top = argparse.ArgumentParser(prog=prog)
    verbs = top.add_subparsers(metavar="VERB", required=True)
    found = {name: verbs.add_parser(name, help=text) for name, text in _VERBS.items()}
    for name, parser in found.items():
        parser.description = f"{name}: {_VERBS[name]}."
        parser.set_defaults(verb=name)

    for parameter in BY_NAME["logs"].parameters:
        _add_option(found["logs"], parameter)
    for name in ("reboot", "rollback", "wipe"):
        _add_wait(found[name], several=name != "wipe")
    for parameter in BY_NAME["override"].fields:
        _add_option(found["override"], parameter)
    found["override"].add_argument(
        "--end", action="store_true", help="what the cloud-config says, at once"
    )
    _add_config(found["config"])
    _inner(found["certificate"], {"renew": "fetch a new one, and use it"}, required=False)
    _add_extension(found["extension"], BY_NAME["extension-add"].fields)
    _add_crash(found["crash"], BY_NAME["crash"].parameters[0])
    _add_output(found["bundle"], "where to; NAME-TIME.tar.zst here, or in this folder")
    (hostname,) = BY_NAME["wipe"].fields
    found["wipe"].add_argument(
        "hostname", type=_checked(hostname), metavar="NAME", help=hostname.text
    )
    found["wipe"].add_argument("--yes-wipe", metavar="NAME", help="the same again: it is meant")
    for name, parser in found.items():
        if name not in ("extension", "crash"):
            _add_common(parser)
    return top


def _inner(
    parser: argparse.ArgumentParser, words: dict[str, str], *, required: bool
) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a verb's second word, with what all verbs have."""
    verb = parser.get_default("verb")
    group = parser.add_subparsers(metavar="COMMAND", required=required)
    found = {word: group.add_parser(word, help=text) for word, text in words.items()}
    for word, inner in found.items():
        inner.set_defaults(verb=f"{verb}-{word}")
        _add_common(inner)
    return found


def _add_config(parser: argparse.ArgumentParser) -> None:
    words = {
        "plan": "what a new document would change on this host; nothing is changed",
        "diff": "the document in force against a file, both without their secrets",
    }
    for inner in _inner(parser, words, required=False).values():
        inner.add_argument("file", type=Path, metavar="FILE")


def _add_extension(parser: argparse.ArgumentParser, fields: Sequence["Parameter"]) -> None:
    words = {
        "list": "those there are, and why one is refused",
        "add": "lay a signed one over the host, until the next boot",
        "remove": "take one away, until the next boot",
    }
    found = _inner(parser, words, required=True)
    for parameter in fields:
        for word in ("add", "remove") if parameter.name == "name" else ("add",):
            found[word].add_argument(
                parameter.name,
                type=_checked(parameter),
                metavar=parameter.name.upper(),
                help=_text(parameter),
            )


def _add_crash(parser: argparse.ArgumentParser, name: "Parameter") -> None:
    words = {"list": "those that are kept", "get": "fetch one, whole, as a file"}
    get = _inner(parser, words, required=True)["get"]
    get.add_argument("name", type=_checked(name), metavar="NAME", help="as `crash list` has it")
    _add_output(get, "where to; NAME here, or in this folder")


def _add_output(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--output", "-o", type=Path, metavar="FILE", help=text)


def _add_wait(parser: argparse.ArgumentParser, *, several: bool) -> None:
    parser.add_argument(
        "--wait", action="store_true", help="until the host is back, in another boot, and healthy"
    )
    parser.add_argument(
        "--timeout",
        type=_count,
        default=_WAIT_SECONDS,
        metavar="SECONDS",
        help=f"how long to wait ({_WAIT_SECONDS})",
    )
    if several:
        parser.add_argument(
            "--at-most",
            type=_count,
            default=1,
            metavar="N",
            help="of many hosts, so many at the same time, always with --wait, and no further one "
            "after one that fails (1)",
        )


def _add_option(parser: argparse.ArgumentParser, parameter: "Parameter") -> None:
    """The option of a parameter, as the contract describes it."""
    option, kind = f"--{parameter.name}", parameter.kind.name
    text = _text(parameter)
    if kind == "BOOLEAN":
        parser.add_argument(option, action="store_true", default=None, help=text)
        return
    parser.add_argument(
        option,
        type=_checked(parameter),
        required=parameter.required,
        metavar="N" if kind == "INTEGER" else parameter.name.upper(),
        help=text,
    )


def _text(parameter: "Parameter") -> str:
    """What it is, as other options say it."""
    return parameter.text[0].lower() + parameter.text[1:].rstrip(".")


def _checked(parameter: "Parameter") -> Callable[[str], "Value"]:
    def read(raw: str) -> "Value":
        from updater.errors import InputError  # noqa: PLC0415 - as in _run

        try:
            return parameter.read(raw)
        except InputError as error:
            told = str(error).removeprefix(f"{parameter.name}: ")
            raise argparse.ArgumentTypeError(told) from None

    return read


def _count(raw: str) -> int:
    if not raw.isascii() or not raw.isdecimal() or len(raw) > 6 or int(raw) < 1:
        raise argparse.ArgumentTypeError(f"{raw[:20]!r}: expected a whole number above 0")
    return int(raw)


def _add_common(parser: argparse.ArgumentParser) -> None:
    def add(group: argparse._ActionsContainer, option: str, **more: Any) -> None:  # noqa: ANN401
        group.add_argument(option, default=argparse.SUPPRESS, **more)

    add(parser, "--json", action="store_true", help="the answer as JSON; of logs, a line each")
    reach = parser.add_argument_group(
        "who we are",
        "Taken from ~/.config/bedplate/host.yaml, or from the file that BEDPLATE_HOST_FILE or "
        "--settings names. The passphrase of a key is asked for, or in BEDPLATE_PASSPHRASE.",
    )
    add(reach, "--settings", type=Path, metavar="FILE", help="a host.yaml")
    add(reach, "--identity", type=Path, metavar="PEM", help="our certificate, or its folder")
    add(reach, "--key-file", type=Path, metavar="PEM", help="its key (NAME.key beside it)")
    add(
        reach,
        "--ca-file",
        type=Path,
        metavar="PEM",
        help="who signed the hosts' certificates (ca.pem beside ours)",
    )
    add(reach, "--passphrase-file", type=Path, metavar="FILE", help="its first line opens the key")
    add(
        reach,
        "--name",
        dest="certificate_name",
        metavar="NAME",
        help="what the host's certificate is for, if that is not ADDRESS",
    )
