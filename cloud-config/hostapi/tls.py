"""The server's side of TLS: 1.3 alone, and nobody without a certificate of the operator's CA."""

import logging
import ssl
from pathlib import Path

from updater.errors import InputError

HOST, KEY = "host.pem", "host.key"
CLIENTS, REVOKED = "clients.pem", "revoked.pem"
# The unit's stand-in for a file that is not there (SetCredential=).
NO_LISTS = b"none"
_MOST = 4 << 20  # bytes of revocation lists
_LOG = logging.getLogger(__name__)

# What OpenSSL says of a certificate (x509_vfy.h), and what is to be done. Others speak for
# themselves.
_ADVICE = (
    (
        "unable to get certificate CRL",
        "its CA has no revocation list here though others have: give one for each CA",
    ),
    ("CRL has expired", "its CA's revocation list is too old: give a newer one"),
    ("CRL is not yet valid", "its CA's revocation list is of the future: look at the clocks"),
    ("CRL signature failure", "its CA's revocation list is signed by another"),
    ("certificate revoked", "it is revoked"),
    ("certificate has expired", "it has expired"),
    ("certificate is not yet valid", "it is not valid yet: look at the clocks"),
    ("unable to get local issuer certificate", "its CA is none of ours"),
    ("self-signed certificate", "its CA is none of ours"),
    ("alert unknown ca", "it does not trust our certificate"),
    ("alert bad certificate", "it does not trust our certificate"),
    ("unsupported certificate purpose", "it is not for clients"),
    ("unsuitable certificate purpose", "it is not for clients"),
)


def context(folder: Path) -> ssl.SSLContext:
    """What every handshake goes by, from the files of `folder`.

    Where there are revocation lists every client's CA needs one that is in force: OpenSSL refuses
    all certificates of a CA that has none, or one that has expired (X509_V_FLAG_CRL_CHECK,
    X509_VERIFY_PARAM_set_flags(3)).

    Raises:
        InputError: a file is missing or wrong; nobody would be served rather than too many.
    """
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.minimum_version = ssl.TLSVersion.TLSv1_3
    found.verify_mode = ssl.CERT_REQUIRED
    # A session that is taken up again is not verified again: it would outlive its revocation.
    found.num_tickets = 0
    try:
        found.load_cert_chain(folder / HOST, folder / KEY)
    except (OSError, ValueError) as error:
        raise _wrong(f"{HOST} and {KEY}", error) from None
    try:
        found.load_verify_locations(folder / CLIENTS)
    except (OSError, ValueError) as error:
        raise _wrong(CLIENTS, error) from None
    _add_lists(found, folder / REVOKED)
    return found


def _add_lists(found: ssl.SSLContext, path: Path) -> None:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST + 1)
        if data.strip() == NO_LISTS:
            return
        if len(data) > _MOST:
            raise InputError(f"{REVOKED}: longer than {_MOST >> 20} MiB")
        found.load_verify_locations(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _wrong(REVOKED, error) from None
    found.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    counts = found.cert_store_stats()
    if counts["crl"] < counts["x509_ca"]:
        _LOG.warning(
            "%d CAs of clients, %d revocation lists: clients of a CA without one are refused",
            counts["x509_ca"],
            counts["crl"],
        )


def _wrong(what: str, error: Exception) -> InputError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return InputError(f"{what}: {reason}; see bedplate.api in this host's cloud-config")


def why(error: BaseException | None) -> str:
    """Why a handshake failed, in one line for this host's journal; the client gets TLS' alert."""
    if error is None:
        return "it hung up"
    text = " ".join(str(error).split())
    if "peer did not return a certificate" in text.lower() or "CERTIFICATE_REQUIRED" in text:
        return "it has no certificate"
    for said, advice in _ADVICE:
        if said.lower() in text.lower().replace("_", " "):
            return f"{advice} ({said})"
    return text[:200]
