"""`bedplate pki`: certificates for people who have no certificate authority."""

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from builder import sheets
from builder.arguments import address, port
from builder.pki import issuing, page, rotating, snippet, tokens
from builder.pki.certificate import Kind, check_address
from builder.pki.errors import PkiInputError
from builder.pki.folder import Folder
from builder.pki.issuing import DAYS, LIST_DAYS, Person
from builder.pki.register import Issued
from builder.pki.standing import BROUGHT, TRUSTED, Standing
from builder.report import emit_json
from builder.trust import passphrase
from cloudconfig.model.endpoints import endpoint
from hostapi.enrol import PORT
from updater.strict import render_time

if TYPE_CHECKING:
    # argparse keeps this name to itself, but has no other for it.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_REQUEST_LENGTH = 16 * 1024
_KINDS = {kind.word: kind for kind in (Kind.READER, Kind.OPERATOR, Kind.HOST)}


def add_commands(subparsers: "Subparsers") -> None:
    """Add `pki` to a parser; each command sets `func`, called with the arguments."""
    group = subparsers.add_parser("pki", help="certificates for the API of hosts")
    commands = group.add_subparsers(metavar="COMMAND", required=True)

    init = commands.add_parser("init", help="make a certificate authority, its key encrypted")
    init.add_argument("--years", type=int, default=issuing.AUTHORITY_YEARS, metavar="N")
    _add_common(init, _init)

    issue = commands.add_parser(
        "issue",
        help="make a certificate for a person or a host",
        description="Writes NAME.pem, and NAME.key under a passphrase. A reader may look, an"
        " operator may do all that the API can.",
    )
    issue.add_argument("role", choices=sorted(_KINDS))
    issue.add_argument("name", metavar="NAME")
    _add_days(issue, f"{DAYS[Kind.OPERATOR]}, for a host {DAYS[Kind.HOST]}")
    issue.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="IP|DNS",
        help="what a host is reached by besides its name; may be repeated",
    )
    how = issue.add_mutually_exclusive_group()
    how.add_argument("--csr", type=Path, metavar="FILE", help="of a key that somebody else keeps")
    how.add_argument(
        "--key-passphrase-file", type=Path, metavar="FILE", help="for this key; else the folder's"
    )
    how.add_argument("--plain-key", action="store_true", help="do not encrypt the key (a host's)")
    _add_snippet(issue, "its certificate and key")
    _add_common(issue, _issue)

    renew = commands.add_parser("renew", help="make new certificates of the same keys")
    renew.add_argument("name", nargs="*", metavar="NAME")
    renew.add_argument("--all", action="store_true", help="all that are in the folder and hold")
    renew.add_argument(
        "--if-due", action="store_true", help="only where less than a third of the life is left"
    )
    _add_days(renew, "as before")
    _add_snippet(renew, "its new certificate and its key; one that is there keeps all else")
    _add_common(renew, _renew)

    revoke = commands.add_parser("revoke", help="end a certificate before its time")
    revoke.add_argument("what", metavar="NAME|SERIAL")
    _add_list_days(revoke)
    _add_common(revoke, _revoke)

    crl = commands.add_parser("crl", help="make the revocation lists anew, before their end")
    _add_list_days(crl)
    _add_common(crl, _crl)

    show = commands.add_parser("show", help="print what there is, and what is due")
    show.add_argument("--all", action="store_true", help="also what has been renewed since")
    _add_common(show, _show)

    give = commands.add_parser(
        "give",
        help="put ca.pem and crl.pem into the documents of hosts",
        description="In each document bedplate.api.ca, and bedplate.api.crl where it is there, are"
        " replaced; every other line stays as it is.",
    )
    give.add_argument("documents", type=Path, nargs="+", metavar="FILE")
    _add_common(give, _give)

    _add_rotate(commands)
    _add_hosts(commands)


def _add_rotate(commands: "Subparsers") -> None:
    rotate = commands.add_parser(
        "rotate",
        help="replace the authority, in three steps without a gap",
        description="Alone it makes the next authority: give ca.pem and crl.pem, which hold both"
        " from then on, to all hosts. Then --use lets it sign: renew all certificates. Then"
        " --finish takes the former one away.",
    )
    step = rotate.add_mutually_exclusive_group()
    step.add_argument("--use", action="store_true", help="let the next authority sign")
    step.add_argument("--finish", action="store_true", help="trust the former one no more")
    rotate.add_argument("--force", action="store_true", help="with --finish: whoever is left")
    _add_common(rotate, _rotate)


def _add_hosts(commands: "Subparsers") -> None:
    token = commands.add_parser(
        "token",
        help="let one host enrol",
        description="Prints a token that gets the host of that name one certificate from"
        " `bedplate pki serve`. Only a hash of it is kept.",
    )
    token.add_argument("name", metavar="HOST")
    token.add_argument("--hours", type=int, default=tokens.HOURS, metavar="N", help="(24)")
    token.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="IP|DNS",
        help="besides its name and the address it asks from; may be repeated",
    )
    token.add_argument("--url", metavar="URL", help="of the service, for --snippet")
    _add_snippet(token, "the token")
    _add_common(token, _token)

    serve = commands.add_parser("serve", help="issue certificates to hosts that have a token")
    serve.add_argument(
        "--address", type=address, default="127.0.0.1", metavar="IP", help="(127.0.0.1)"
    )
    serve.add_argument("--port", type=port, default=PORT, help=f"0 takes a free one ({PORT})")
    serve.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="IP|DNS",
        help="what hosts call it by; else the address, or this machine's name",
    )
    _add_days(serve, str(DAYS[Kind.HOST]))
    _add_common(serve, _serve)


def _add_days(parser: argparse.ArgumentParser, otherwise: str) -> None:
    parser.add_argument("--days", type=int, metavar="N", help=f"how long it holds ({otherwise})")


def _add_list_days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--days",
        type=int,
        default=LIST_DAYS,
        metavar="N",
        help=f"until the lists have to be made anew ({LIST_DAYS})",
    )


def _add_snippet(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--snippet",
        type=Path,
        metavar="FILE",
        help=f"write a cloud-config with {what}, for a host; mode 0600",
    )


def _add_common(parser: argparse.ArgumentParser, func: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("--folder", type=Path, default=Path("pki"), metavar="FOLDER", help="(pki)")
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help=f"its first line; else {passphrase.VARIABLE}, or the terminal",
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    parser.set_defaults(func=func)


def _folder(args: argparse.Namespace, *, confirm: bool = False) -> Folder:
    asked = passphrase.from_surroundings(args.passphrase_file, confirm=confirm)
    return Folder(args.folder, asked)


def _init(args: argparse.Namespace) -> int:
    if not 1 <= args.years <= 30:
        raise PkiInputError(f"--years {args.years}: expected 1 to 30")
    made = issuing.init(_folder(args, confirm=True), args.years).issuing()
    line = f"{args.folder}: authority {made.ident} until {made.ends:%Y-%m-%d}"
    return _told(args, line, {"authority": made.ident, "not_after": render_time(made.ends)})


def _issue(args: argparse.Namespace) -> int:
    kind, folder = _KINDS[args.role], _folder(args)
    if kind is not Kind.HOST and (args.address or args.snippet or args.plain_key):
        raise PkiInputError("--address, --snippet and --plain-key are for hosts")
    if args.csr and args.snippet:
        raise PkiInputError("--snippet needs the key, and with --csr that is somewhere else")
    person = Person(plain=args.plain_key)
    if args.csr:
        with args.csr.open("rb") as stream:
            person = Person(request=stream.read(_REQUEST_LENGTH))
    if args.key_passphrase_file:
        asked = passphrase.from_surroundings(args.key_passphrase_file)
        person = Person(passphrase=lambda: asked(f"the key of {args.name}"))
    made = issuing.issue(
        folder, kind, args.name, addresses=args.address, days=args.days, person=person
    )
    if args.snippet:
        snippet.write(args.snippet, snippet.brought(folder, folder.read(), made), replace=False)
    where = args.snippet or folder.certificate_file(made.name)
    return _told(args, f"{where}: {_in_words(made)}", _details(made))


def _renew(args: argparse.Namespace) -> int:
    folder = _folder(args)
    names = list(dict.fromkeys(args.name))
    if args.all == bool(names):
        raise PkiInputError("give names, or --all")
    if args.snippet and len(names) != 1:
        raise PkiInputError("--snippet is for one host")
    if args.all:
        now = folder.now()
        names = [each.name for each in folder.read().current() if each.filed and each.holds(now)]
    results: list[dict[str, object]] = []
    # Looked at first: nothing is renewed for a document that does not take it.
    there = args.snippet and args.snippet.exists()
    before = Standing.read(args.snippet, BROUGHT) if there else None
    for name in names:
        made, renewed = issuing.renew(folder, name, days=args.days, if_due=args.if_due)
        if args.snippet and (renewed or before is None):
            text = snippet.brought(folder, folder.read(), made, before)
            snippet.write(args.snippet, text, replace=True)
        if not args.json:
            done = "renewed" if renewed else "not due"
            sys.stdout.write(f"{name}: {done}; {_in_words(made)}\n")
        results.append({**_details(made), "renewed": renewed})
    if args.json:
        emit_json({"schema": 1, "certificates": results})
    return 0


def _revoke(args: argparse.Namespace) -> int:
    folder = _folder(args)
    ended = issuing.revoke(folder, args.what, days=args.days)
    serials = [f"{each.serial:X}" for each in ended]
    line = (
        f"{args.what}: {len(ended)} certificates end, its tokens too; it holds on each host once"
        f" the host has {folder.path / 'crl.pem'} (bedplate.api.crl)"
    )
    return _told(args, line, {"revoked": serials})


def _crl(args: argparse.Namespace) -> int:
    register = issuing.new_lists(_folder(args), days=args.days)
    ends = min(each.list_ends for each in register.trusted())
    line = f"{args.folder / 'crl.pem'}: until {ends:%Y-%m-%d}; give it to the hosts"
    return _told(args, line, {"until": render_time(ends)})


def _show(args: argparse.Namespace) -> int:
    folder = _folder(args)
    look = page.Look(folder.read(), folder.now())
    if args.json:
        emit_json(page.document(look))
        return 0
    for sheet in page.sheets(look, every=args.all):
        sheets.show(sheet)
    sys.stderr.writelines(f"bedplate: {line}\n" for line in look.warnings())
    return 0


def _give(args: argparse.Namespace) -> int:
    register = _folder(args).read()
    # All are looked at first: none is changed when one does not take them.
    before = [Standing.read(path, TRUSTED) for path in dict.fromkeys(args.documents)]
    for each in before:
        snippet.write(each.path, snippet.trusting(register, each), replace=True)
    count = f"{len(before)} document{'s' if len(before) > 1 else ''}"
    line = f"{count}; each host takes its own when it boots"
    return _told(args, line, {"documents": [str(each.path) for each in before]})


def _rotate(args: argparse.Namespace) -> int:
    folder = _folder(args)
    if args.use:
        register = rotating.use(folder)
        following = "renew: bedplate pki renew --all, and each host that has enrolled"
    elif args.finish:
        register = rotating.finish(folder, force=args.force)
        following = "give ca.pem and crl.pem to all hosts (bedplate pki give)"
    else:
        register = rotating.begin(folder)
        following = (
            "give ca.pem and crl.pem to all hosts (bedplate pki give); then bedplate pki rotate"
            " --use"
        )
    stages = {each.ident: each.stage.value for each in register.authorities}
    line = ", ".join(f"{ident} {stage}" for ident, stage in stages.items())
    return _told(args, f"{args.folder}: {line}\nnow {following}", {"authorities": stages})


def _token(args: argparse.Namespace) -> int:
    folder = _folder(args)
    if bool(args.url) != bool(args.snippet):
        raise PkiInputError("--url and --snippet go together")
    url = _checked_url(args.url) if args.url else ""
    secret, token = tokens.new_token(folder, args.name, hours=args.hours, addresses=args.address)
    details: dict[str, object] = {"name": token.name, "until": render_time(token.ends)}
    if args.snippet:
        text = snippet.enrolling(folder.read(), token, secret, url)
        snippet.write(args.snippet, text, replace=False)
        until = f"{token.ends:%Y-%m-%d %H:%M} UTC"
        return _told(args, f"{args.snippet}: lets {token.name} enrol until {until}", details)
    return _told(args, secret, {**details, "token": secret})


def _checked_url(text: str) -> str:
    try:
        found = endpoint(text.rstrip("/"))
    except ValueError:
        found = None
    if found is None or found.scheme != "https":
        raise PkiInputError(f"--url {text[:80]!r}: expected such as https://10.0.0.5:{PORT}")
    return str(found)


def _serve(args: argparse.Namespace) -> int:
    # Only here: aiohttp is slow to import.
    from builder.pki.service import Service  # noqa: PLC0415

    everywhere = args.address in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    names = args.name or [socket.getfqdn() if everywhere else args.address]
    folder = _folder(args)
    service = Service(
        folder,
        tuple(dict.fromkeys(map(check_address, names))),
        lasts=issuing.check_days(Kind.HOST, args.days),
    )

    def ready(port: int) -> None:
        host = f"[{names[0]}]" if ":" in names[0] else names[0]
        url = f"https://{host}:{port}"
        _told(args, f"issuing certificates at {url}; Ctrl-C ends it", {"url": url})

    async def run() -> None:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await service.run(args.address, args.port, ready)

    # The usual ways to end it, so no failure.
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(run())
    return 0


def _in_words(issued: Issued) -> str:
    return f"{issued.kind.word} {issued.name} until {issued.ends:%Y-%m-%d}"


def _details(issued: Issued) -> dict[str, object]:
    return {
        "name": issued.name,
        "role": issued.kind.word,
        "serial": f"{issued.serial:X}",
        "not_after": render_time(issued.ends),
    }


def _told(args: argparse.Namespace, line: str, details: dict[str, object]) -> int:
    if args.json:
        emit_json({"schema": 1, **details})
    else:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0
