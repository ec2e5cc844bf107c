"""What an answer of etcd's that is no success means. Pure."""

from http import HTTPStatus

from hostkit.etcd.errors import (
    Compacted,
    EndpointError,
    EtcdError,
    LeaseNotFound,
    Refused,
    StaleTokenError,
    shown,
)
from hostkit.etcd.gateway import AnswerError, Json, integer, member, parse_object, text

# gRPC's codes (google/rpc/code.proto).
_UNAVAILABLE = 14
_UNAUTHENTICATED = 16
_TRY_ELSEWHERE = frozenset((1, 2, 4, 8, 10, 13, _UNAVAILABLE))
# etcd's api/v3rpc/rpctypes/error.go
_STALE_TOKEN = ("invalid auth token", "user name is empty", "revision of auth store is old")
_KNOWN: tuple[tuple[str, type[EtcdError], str], ...] = (
    ("authentication failed", Refused, "check the user and the password that are configured"),
    ("permission denied", Refused, "grant the user's role readwrite on our prefix in etcd"),
    ("required revision has been compacted", Compacted, "list anew"),
    ("requested lease not found", LeaseNotFound, "it has ended, grant another"),
)
_NOT_BEGUN = ("no leader", "too many requests", "database space exceeded")


def success(status: int, body: bytes) -> Json:
    """The object that an answer holds.

    Raises:
        EtcdError: etcd says no; see errors.py.
        StaleTokenError: with a fresh token it may say yes.
        EndpointError: another endpoint may say yes, or it is no answer of etcd's.
    """
    try:
        document = parse_object(body)
        # The gateway's streams (watch, keepalive) put an error into an envelope.
        fault = member(document, "error") if isinstance(document.get("error"), dict) else document
        code = integer(fault, "grpc_code") or integer(fault, "code")
        message = text(fault, "message")
    except AnswerError as error:
        start = shown(body[:80].decode("latin-1"))
        raise EndpointError(
            f"HTTP status {status}, and not etcd's JSON ({error}): {start}", applied=True
        ) from error
    if status == HTTPStatus.OK and not code:
        return document
    raise judge(code, message or f"HTTP status {status}")


def cancelled(reason: str) -> Exception:
    """Why a watch was cancelled ("rpc error: code = ... desc = ..."), as the error to raise."""
    return judge(_UNAVAILABLE, reason.partition(" desc = ")[2] or reason)


def judge(code: int, message: str) -> Exception:
    """The error that a gRPC code and its message mean."""
    said = shown(message)
    if code == _UNAUTHENTICATED or any(words in message for words in _STALE_TOKEN):
        return StaleTokenError(said)
    for words, kind, advice in _KNOWN:
        if words in message:
            return kind(f"etcd: {said}: {advice}")
    if code in _TRY_ELSEWHERE:
        begun = not any(words in message for words in _NOT_BEGUN)
        return EndpointError(said, applied=begun)
    return EtcdError(f"etcd: it refuses what it was asked: {said}")
