"""The client against a real etcd: one member, without and with users and TLS."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from etcd_server import Authority, Cluster, Tls, serving
from hostkit.etcd import (
    Access,
    Change,
    Client,
    Compacted,
    Compare,
    Delete,
    EtcdError,
    Get,
    LeaseNotFound,
    Limits,
    List,
    Put,
    Refused,
    Snapshot,
    Unavailable,
)
from network import wait_for

PATIENT = Limits(connect_seconds=20, call_seconds=30, watch_gap_seconds=60)


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Cluster]:
    with serving(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def client(etcd: Cluster) -> Client:
    return Client(etcd.access(), limits=PATIENT)


def keys(snapshot: Snapshot) -> list[str]:
    return [item.key for item in snapshot.items]


# --- Keys -----------------------------------------------------------------------------------------


def test_a_key_is_put_read_listed_and_deleted(etcd: Cluster, client: Client) -> None:
    assert client.get("/a/1") is None
    first = client.put("/a/1", b"\0one\xff")
    second = client.put("/a/1", b"")
    assert second == first + 1
    found = client.get("/a/1")
    assert found is not None
    assert (found.value, found.create_revision, found.mod_revision) == (b"", first, second)
    assert (found.version, found.lease) == (2, 0)
    assert client.list("/a/") == Snapshot(second, (found,))
    assert etcd.get() == {"/a/1": ""}
    assert client.delete("/a/1") is True
    assert client.delete("/a/1") is False
    assert client.list("/a/") == Snapshot(second + 1, ())


def test_a_list_is_of_its_prefix_and_of_one_revision(client: Client) -> None:
    before = client.put("/a", b"")
    for name in ("/a/1", "/a/2", "/a0", "/b", "/\udcff\udcfe"):
        client.put(name, b"x")
    assert keys(client.list("/a/")) == ["/a/1", "/a/2"]
    assert keys(client.list("/\udcff")) == ["/\udcff\udcfe"]
    assert len(client.list("").items) == 6
    past = client.list("", revision=before)
    assert (past.revision, keys(past)) == (before, ["/a"])


def test_a_list_comes_in_pages(etcd: Cluster) -> None:
    client = Client(etcd.access(), limits=replace(PATIENT, page_items=4, list_items=12))
    for number in range(12):
        client.put(f"/a/{number:02}", b"x")
    assert keys(client.list("/a/")) == [f"/a/{number:02}" for number in range(12)]
    client.put("/a/12", b"x")
    with pytest.raises(EtcdError, match="more than the 12 keys allowed below /a/"):
        client.list("/a/")


def test_a_transaction_does_one_or_the_other(client: Client) -> None:
    create = [Compare.absent("/a")]
    won = client.transact(create, [Put("/a", b"1"), Get("/a"), Put("/b", b"2")], [Get("/a")])
    assert won.succeeded
    (made,) = won.items
    assert made.revision == won.revision
    assert made.items == (client.get("/a"),)
    lost = client.transact(create, [Put("/a", b"2")], [Get("/a"), List("/"), Get("/none")])
    assert (lost.succeeded, lost.revision) == (False, won.revision)
    assert [keys(each) for each in lost.items] == [["/a"], ["/a", "/b"], []]
    changed = client.transact(
        [Compare.mod_revision("/a", won.revision), Compare.lease("/a", 0), Compare.present("/b")],
        [Delete("/b"), Put("/a", b"3")],
    )
    assert changed.succeeded
    assert keys(client.list("/")) == ["/a"]
    assert not client.transact([Compare.mod_revision("/a", won.revision)], []).succeeded
    assert not client.transact([Compare.present("/b")], []).succeeded
    assert not client.transact([Compare.lease("/a", 5)], []).succeeded


def test_what_etcd_will_never_do_is_said(client: Client) -> None:
    with pytest.raises(EtcdError, match=r"it refuses what it was asked: .*duplicate key") as caught:
        client.transact([], [Put("/a", b"1"), Put("/a", b"2")])
    assert type(caught.value) is EtcdError
    with pytest.raises(EtcdError, match="too large"):
        client.put("/a", bytes(1_800_000))


def test_one_client_serves_many_threads(client: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        revisions = list(pool.map(lambda number: client.put(f"/{number}", b""), range(64)))
    assert len(set(revisions)) == 64
    assert len(client.list("/").items) == 64


def test_proxies_of_the_environment_are_not_used(
    etcd: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert Client(etcd.access(), limits=PATIENT).put("/a", b"") > 0


# --- Leases ---------------------------------------------------------------------------------------


def test_a_lease_lives_is_kept_alive_and_takes_its_keys_along(client: Client) -> None:
    granted = client.grant(60)
    assert granted.seconds == 60
    client.put("/a", b"", lease=granted.id)
    found = client.get("/a")
    assert found is not None
    assert found.lease == granted.id
    assert client.transact([Compare.lease("/a", granted.id)], []).succeeded
    assert 0 < client.time_to_live(granted.id) <= 60
    assert client.keep_alive(granted.id) == 60
    client.revoke(granted.id)
    client.revoke(granted.id)
    assert client.get("/a") is None
    assert client.keep_alive(granted.id) == 0
    assert client.time_to_live(granted.id) == -1
    with pytest.raises(LeaseNotFound):
        client.put("/a", b"", lease=granted.id)
    with pytest.raises(LeaseNotFound):
        client.transact([], [Put("/a", b"", lease=granted.id)])


def test_the_end_of_a_lease_is_a_change(client: Client) -> None:
    granted = client.grant(1)
    made = client.put("/a", b"x", lease=granted.id)
    with client.watch("/", after=made - 1) as changes:
        assert next(changes) == Change("/a", b"x", made, granted.id)
        assert next(changes) == Change("/a", None, made + 1, 0)


# --- Watches --------------------------------------------------------------------------------------


def test_a_watch_tells_all_changes_of_its_prefix_in_order(client: Client) -> None:
    start = client.put("/a/1", b"1")
    client.put("/b", b"no")
    with client.watch("/a/", after=start) as changes:
        client.put("/a/2", b"2")
        client.transact([], [Put("/a/1", b"3"), Delete("/a/2")])
        expected = [
            Change("/a/2", b"2", start + 2, 0),
            Change("/a/1", b"3", start + 3, 0),
            Change("/a/2", None, start + 3, 0),
        ]
        assert [next(changes) for _ in range(3)] == expected
        # The last one may still be worked on.
        assert changes.revision == start + 2
        client.put("/a/3", b"")
        next(changes)
        assert changes.revision == start + 3
    with client.watch("/a/", after=start + 2) as changes:
        assert [next(changes) for _ in range(2)] == expected[1:]


def test_a_quiet_watch_ends_by_itself(etcd: Cluster) -> None:
    client = Client(etcd.access(), limits=replace(PATIENT, watch_gap_seconds=4))
    made = client.put("/a", b"")
    with client.watch("/", after=made - 1) as changes:
        assert [change.key for change in changes] == ["/a"]
        assert changes.revision == made


def test_progress_is_told_and_keeps_a_quiet_watch(tmp_path: Path) -> None:
    options = ("--experimental-watch-progress-notify-interval", "300ms")
    with serving(tmp_path, options=options) as etcd:
        client = Client(etcd.access(), limits=replace(PATIENT, watch_gap_seconds=20))
        start = client.put("/other", b"")
        with client.watch("/a/", after=start) as changes, ThreadPoolExecutor(1) as pool:
            following = pool.submit(next, changes)
            newest = client.put("/other", b"")
            wait_for(lambda: changes.revision == newest, "progress is told")
            assert not following.done()
            client.put("/a/1", b"")
            assert following.result(60).key == "/a/1"


def test_a_watch_is_closed_by_another_thread(client: Client) -> None:
    with ThreadPoolExecutor(1) as pool:
        changes = client.watch("/", after=1)
        following = pool.submit(list, changes)
        threading.Timer(0.3, changes.close).start()
        assert following.result(60) == []
        assert list(changes) == []


def count_up(access: Access, count: int) -> None:
    """Put 0, 1, 2 and so on to /n, each once, through any outage."""
    client = Client(access, limits=PATIENT)
    while True:
        with suppress(Unavailable):
            # Whether a lost write was done can be seen.
            found = client.get("/n")
            done = int(found.value) if found else -1
            if done == count - 1:
                return
            client.put("/n", str(done + 1).encode())


def follow(access: Access, after: int, count: int, seen: list[int], ends: list[str]) -> None:
    """Collect what /n was, through any outage."""
    client = Client(access, limits=PATIENT)
    while len(seen) < count:
        try:
            with client.watch("/n", after=after) as changes:
                for change in changes:
                    seen.append(int(change.value or b"-1"))
                    after = change.revision
                    if len(seen) == count:
                        return
        except Unavailable as error:
            ends.append(str(error))


def test_a_restart_during_a_watch_loses_nothing(etcd: Cluster, client: Client) -> None:
    (server,) = etcd.members
    count = 300
    seen: list[int] = []
    ends: list[str] = []
    after = client.list("").revision
    with ThreadPoolExecutor(2) as pool:
        following = pool.submit(follow, etcd.access(), after, count, seen, ends)
        counting = pool.submit(count_up, etcd.access(), count)
        for number, end in enumerate((server.kill, server.stop), 1):
            wait_for(lambda: len(seen) >= 70 * number, "some more are seen")  # noqa: B023
            end()
            wait_for(lambda: bool(ends), "the watch is broken")
            server.start()
            ends.clear()
        counting.result(60)
        following.result(60)
    assert seen == list(range(count))


def test_what_is_compacted_cannot_be_read_or_watched(etcd: Cluster, client: Client) -> None:
    first = client.put("/a", b"1")
    client.put("/a", b"2")
    oldest = etcd.compact()
    with pytest.raises(Compacted):
        client.list("/", revision=first)
    with client.watch("/", after=first - 1) as changes, pytest.raises(Compacted) as caught:
        next(changes)
    assert caught.value.revision == oldest
    with client.watch("/", after=oldest - 1) as changes:
        assert next(changes).value == b"2"


def test_a_compaction_during_a_watch_is_nothing(etcd: Cluster, client: Client) -> None:
    with client.watch("/", after=client.list("").revision) as changes:
        client.put("/a", b"1")
        etcd.compact()
        client.put("/a", b"2")
        assert [next(changes).value, next(changes).value] == [b"1", b"2"]


def test_a_cluster_that_lost_its_past_is_noticed(tmp_path: Path) -> None:
    with serving(tmp_path / "new") as etcd:
        client = Client(etcd.access(), limits=PATIENT)
        with pytest.raises(Compacted, match="was at 1000: it is another cluster"):
            client.watch("/", after=1000)


# --- Users ----------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Cluster]:
    """One member that wants users, and forgets their tokens after a second."""
    with serving(tmp_path, options=("--auth-token-ttl", "1")) as cluster:
        cluster.enable_users()
        cluster.add_user("host", "its word", "/a/")
        yield cluster


def test_a_user_may_do_what_the_role_says(guarded: Cluster) -> None:
    client = Client(guarded.access("host"), limits=PATIENT)
    start = client.put("/a/1", b"")
    lease = client.grant(60).id
    client.put("/a/2", b"", lease=lease)
    assert keys(client.list("/a/")) == ["/a/1", "/a/2"]
    assert client.keep_alive(lease) == 60
    assert client.time_to_live(lease) > 50
    with client.watch("/a/", after=start) as changes:
        assert next(changes).key == "/a/2"
    for refused in (lambda: client.put("/b", b""), lambda: client.watch("/", after=1)):
        with pytest.raises(Refused, match="permission denied: grant the user's role"):
            refused()


def test_an_ended_token_is_renewed(
    guarded: Cluster, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    client = Client(guarded.access("host"), limits=PATIENT)
    client.put("/a/1", b"")
    first = client._transport._token
    assert first
    # It ends a second after its last use, and etcd looks for such each second, or later.
    for pause in (2.5, 5.0, 10.0, 20.0):
        threading.Event().wait(pause)
        made = client.put("/a/1", b"")
        if (second := client._transport._token) != first:
            break
    assert second not in {None, first}
    client._transport._token = "nonsense.1"  # noqa: S105 - of no one
    assert keys(client.list("/a/")) == ["/a/1"]
    assert client._transport._token not in {second, "nonsense.1"}
    with client.watch("/a/", after=made - 1) as changes:
        assert next(changes).key == "/a/1"
    shown = caplog.text + "".join(capfd.readouterr()) + repr(guarded.access("host"))
    assert "its word" not in shown
    assert first not in shown


@pytest.mark.parametrize(
    ("user", "password", "reason"),
    [
        ("host", "wrong", "check the user and the password"),
        ("nobody", "its word", "check the user and the password"),
        (None, None, "configure the user and the password"),
    ],
)
def test_a_wrong_user_is_refused(
    guarded: Cluster, user: str | None, password: str | None, reason: str
) -> None:
    client = Client(Access(guarded.endpoints, username=user, password=password), limits=PATIENT)
    for call in (lambda: client.put("/a/1", b""), lambda: client.watch("/a/", after=1)):
        with pytest.raises(Refused, match=reason) as caught:
            call()
        assert "its word" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_user_is_no_hindrance_where_there_are_none(etcd: Cluster) -> None:
    client = Client(replace(etcd.access(), username="host", password="its word"), limits=PATIENT)  # noqa: S106
    client.put("/a/1", b"")
    etcd.enable_users()
    etcd.add_user("host", "its word", "/a/")
    client.put("/a/1", b"")


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Cluster]:
    with serving(tmp_path, tls=Tls(Authority(tmp_path / "authority"))) as cluster:
        yield cluster


def test_with_certificates_all_works(secure: Cluster) -> None:
    client = Client(secure.access(), limits=PATIENT)
    start = client.put("/a", b"")
    with client.watch("/", after=start - 1) as changes, ThreadPoolExecutor(1) as pool:
        assert next(changes).key == "/a"
        following = pool.submit(list, changes)
        client.put("/b", b"")
        threading.Timer(0.3, changes.close).start()
        assert [change.key for change in following.result(60)] == ["/b"]
    secure.members[0].kill()
    secure.members[0].start()
    assert client.get("/a") is not None


def test_wrong_certificates_are_refused(secure: Cluster, tmp_path: Path) -> None:
    right = secure.access()
    other = Authority(tmp_path / "other")
    missing = tmp_path / "none.pem"
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    pair = other.client
    for access, reason in (
        (replace(right, ca=other.certificate), "its certificate is not trusted"),
        (replace(right, ca=None), "its certificate is not trusted"),
        (replace(right, certificate=None, key=None), "it refuses our certificate .*CERTIFICATE"),
        (
            replace(right, certificate=pair.certificate, key=pair.key),
            "it refuses our certificate .*CERT|it refuses our certificate .*UNKNOWN_CA",
        ),
        (replace(right, ca=missing), f"cannot use {missing}: No such file"),
        (replace(right, ca=broken), f"cannot use {broken}: "),
        (replace(right, certificate=missing), f"cannot use {missing} with .*: No such file"),
        (replace(right, key=pair.key), "cannot use .*client.crt with .*client.key: .*mismatch"),
    ):
        client = Client(access, limits=PATIENT)
        with pytest.raises(Refused, match=reason) as caught:
            client.put("/a", b"")
        with pytest.raises(Refused, match=reason):
            client.watch("/", after=1)
        assert "\n" not in str(caught.value)


def test_http_and_https_are_not_the_same(secure: Cluster, etcd: Cluster) -> None:
    (url,) = secure.endpoints
    plain = Client(Access((url.replace("https", "http"),)), limits=PATIENT)
    with pytest.raises(Unavailable, match="Remote end closed connection"):
        plain.get("/a")
    (url,) = etcd.endpoints
    with pytest.raises(Unavailable, match=r"UNEXPECTED_EOF|WRONG_VERSION"):
        Client(Access((url.replace("http", "https"),)), limits=PATIENT).get("/a")
