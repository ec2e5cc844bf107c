"""The few transactions with etcd by which a host has its subnet.

Every write is conditional. A subnet is taken by creating its key, which must be absent, while the
network's configuration must be the one the choice was made by: else two hosts with different
`SubnetLen` could take overlapping subnets under different keys. An own lease is taken up, renewed
and changed as long as its key is at the revision that we know.

Beside each lease `<prefix>/bedplate/used/<subnets>` is written, without a TTL: the order of its
revisions is the order in which leases were last known to live, which etcd itself forgets. Flannel
reads nothing there.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random, SystemRandom
from typing import Protocol

from hostkit import etcd
from hostkit.etcd import (
    Compare,
    EtcdError,
    Get,
    Granted,
    KeyValue,
    LeaseNotFound,
    Outcome,
    Put,
    Snapshot,
)
from hostkit.timing import boottime
from overlay.choose import Choice, Used, Why, fresh, remembered
from overlay.lease import (
    Broken,
    Lease,
    LeaseError,
    Leases,
    Subnets,
    Terms,
    parse_subnets,
    read_lease,
)
from overlay.network import NetworkConfig, parse
from updater.errors import BedplateError

_MOST_RACES = 32


class ConfigurationMissing(BedplateError):  # noqa: N818 - flannel's "config not found"
    """etcd has no configuration of the network."""


class ConfigurationChanged(BedplateError):  # noqa: N818 - not a fault
    """The network's configuration is not the one it was; read it and begin anew."""


class Contended(BedplateError):  # noqa: N818 - not a fault
    """Too many races for a subnet were lost; try again later."""


class Lost(BedplateError):  # noqa: N818 - the lease is, not the host
    """The lease is no more ours: its traffic must stop at once."""


class Store(etcd.Store, Protocol):
    """What of etcd's client is needed here; see `hostkit.etcd.Client`."""

    def get(self, key: str) -> KeyValue | None:
        """A key."""

    def list(self, prefix: str) -> Snapshot:
        """All keys that start so."""

    def grant(self, seconds: int) -> Granted:
        """A new etcd lease."""

    def keep_alive(self, lease: int) -> int:
        """Renew an etcd lease: its seconds, 0 when it is gone."""

    def revoke(self, lease: int) -> None:
        """End an etcd lease and delete the keys on it."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The network's configuration and the revision of its key."""

    network: NetworkConfig
    revision: int


@dataclass(frozen=True, slots=True)
class Acquired:
    """A lease of ours, `seconds` from `sent` on (by `boottime`), and what it took to get it."""

    lease: Lease
    sent: float
    seconds: float
    why: Why
    transactions: int


@dataclass(frozen=True, slots=True)
class Renewed:
    """The lease as it is now, `seconds` from `sent` on; `problem`: what else did not work."""

    lease: Lease
    sent: float
    seconds: float
    problem: str | None = None


class Manager:
    """This host's dealings with etcd; one at a time, each as long as the client's limits allow."""

    def __init__(
        self,
        store: Store,
        prefix: str,
        ttl: int,
        *,
        first: bytes | None = None,
        random: Random | None = None,
        now: Callable[[], float] = boottime,
    ) -> None:
        """Under `prefix`, such as /coreos.com/network, with leases of `ttl` seconds.

        `first` is the network's configuration where etcd has none yet.
        """
        self._store = store
        self._prefix = prefix.rstrip("/")
        self._ttl = ttl
        self._first = first
        self._random = random or SystemRandom()
        self.now = now

    @property
    def config_key(self) -> str:
        """Where the network's configuration is."""
        return f"{self._prefix}/config"

    @property
    def subnets_prefix(self) -> str:
        """What the keys of all leases start with."""
        return f"{self._prefix}/subnets/"

    def configuration(self) -> Configuration:
        """Read the network's configuration; write the one that we were given if there is none.

        Raises:
            ConfigurationMissing: nobody wrote one.
            NetworkConfigError: it cannot be used.
            EtcdError: etcd does not answer, or refuses.
        """
        item = self._store.get(self.config_key) or self._begin()
        if item is None:
            raise ConfigurationMissing(
                f"etcd has no key {self.config_key}; write the network's configuration there, such "
                'as {"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}'
            )
        return Configuration(parse(item.value, self.config_key), item.mod_revision)

    def _begin(self) -> KeyValue | None:
        """Write the first configuration, unless another host was faster; the one that is there."""
        if self._first is None:
            return None
        parse(self._first, "network_config")
        key = self.config_key
        self._store.transact([Compare.absent(key)], [Put(key, self._first)])
        return self._store.get(key)

    def leases(self) -> Leases:
        """Read all leases of the network; those that are broken are told apart.

        Raises:
            EtcdError: etcd does not answer, or refuses.
        """
        snapshot = self._store.list(self.subnets_prefix)
        read = [self._read(item) for item in snapshot.items]
        return Leases(
            snapshot.revision,
            tuple(each for each in read if isinstance(each, Lease)),
            tuple(each for each in read if isinstance(each, Broken)),
        )

    def acquire(
        self, configuration: Configuration, terms: Terms, previous: Subnets | None = None
    ) -> Acquired:
        """Take the subnets that are ours to take, with `terms` as the lease's value.

        Raises:
            Exhausted: every subnet has a holder.
            Contended: other hosts were faster each time.
            ConfigurationChanged: the configuration is another by now.
            EtcdError: etcd does not answer, or refuses. What was asked may have been done all the
                same; the next call finds it as our own lease.
        """
        granted = Granted(0, 0)
        sent = self.now()
        history: tuple[Used, ...] | None = None
        try:
            for races in range(_MOST_RACES):
                leases = self.leases()
                choice = remembered(configuration.network, leases, terms, previous)
                if choice is None:
                    history = self._history() if history is None else history
                    choice = fresh(configuration.network, leases, history, self._random, lost=races)
                if granted.id == 0 and choice.why is not Why.RESERVATION:
                    sent = self.now()
                    granted = self._store.grant(self._ttl)
                lease = self._take(configuration, choice, terms, granted.id)
                if lease is not None:
                    seconds = math.inf if lease.reservation else granted.seconds
                    return Acquired(lease, sent, seconds, choice.why, races + 1)
        except LeaseNotFound as error:
            raise Contended(f"{error}; it took longer than its {self._ttl} seconds") from error
        except EtcdError:
            # Perhaps it was done, so what was granted may have our key on it by now.
            raise
        except BedplateError:
            self._give_back(granted)
            raise
        self._give_back(granted)
        raise Contended(f"{_MOST_RACES} races for a subnet were lost to other hosts")

    def renew(self, lease: Lease) -> Renewed:
        """Tell etcd that we live, and see that the key is still ours.

        Raises:
            Lost: etcd no longer has the lease, or the key is another's.
            EtcdError: etcd does not answer, or refuses.
        """
        sent = self.now()
        seconds: float = math.inf
        if not lease.reservation:
            seconds = self._store.keep_alive(lease.lease)
            if seconds <= 0:
                raise Lost(f"the lease of {lease.subnets} has ended in etcd")
        try:
            outcome = self._store.transact(
                [Compare.mod_revision(self._key(lease.subnets), lease.revision)],
                [self._mark(lease.subnets, lease.terms)],
                [Get(self._key(lease.subnets))],
            )
        except EtcdError as error:
            # A store that is full takes no write but renews; to stop for that would help nobody.
            if lease.reservation:
                raise
            return Renewed(lease, sent, seconds, str(error))
        if not outcome.succeeded:
            lease = self._still_ours(lease, lease.terms, outcome)
            seconds = math.inf if lease.reservation else seconds
        return Renewed(lease, sent, seconds)

    def update(self, lease: Lease, terms: Terms) -> Lease:
        """Let the peers know of new terms: another public address, another MAC.

        Raises:
            Lost: the key is no more ours.
            EtcdError: etcd does not answer, or refuses.
        """
        key = self._key(lease.subnets)
        for _ in range(_MOST_RACES):
            try:
                outcome = self._store.transact(
                    [Compare.mod_revision(key, lease.revision)],
                    [Put(key, terms.encode(), lease.lease), self._mark(lease.subnets, terms)],
                    [Get(key)],
                )
            except LeaseNotFound:
                raise Lost(f"the lease of {lease.subnets} has ended in etcd") from None
            if outcome.succeeded:
                return replace(lease, terms=terms, revision=outcome.revision)
            lease = self._still_ours(lease, terms, outcome)
            if lease.terms == terms:
                return lease
        raise Contended(f"{key} is changed by someone else again and again")

    def release(self, lease: Lease) -> None:
        """Give the subnets back; a reservation stays.

        Raises:
            EtcdError: etcd does not answer, or refuses.
        """
        if not lease.reservation:
            self._store.revoke(lease.lease)

    def read(self, key: str, value: bytes, lease: int, revision: int) -> Lease | Broken:
        """A lease from its key and value, as a watch of `subnets_prefix` tells them."""
        return read_lease(key.removeprefix(self.subnets_prefix), value, lease, revision)

    def _read(self, item: KeyValue) -> Lease | Broken:
        return self.read(item.key, item.value, item.lease, item.mod_revision)

    def _key(self, subnets: Subnets) -> str:
        return f"{self.subnets_prefix}{subnets}"

    def _used_prefix(self) -> str:
        return f"{self._prefix}/bedplate/used/"

    def _mark(self, subnets: Subnets, terms: Terms) -> Put:
        host = terms.public_ipv4 or terms.public_ipv6
        return Put(f"{self._used_prefix()}{subnets}", str(host).encode())

    def _history(self) -> tuple[Used, ...]:
        used = []
        for item in self._store.list(self._used_prefix()).items:
            with suppress(LeaseError):
                subnets = parse_subnets(item.key.removeprefix(self._used_prefix()))
                used.append(Used(subnets, item.mod_revision))
        return tuple(used)

    def _take(
        self, configuration: Configuration, choice: Choice, terms: Terms, granted: int
    ) -> Lease | None:
        """One transaction; None when another host was faster."""
        key = self._key(choice.subnets)
        if choice.existing is None:
            condition = Compare.absent(key)
        else:
            condition = Compare.mod_revision(key, choice.existing.revision)
        etcd_lease = 0 if choice.why is Why.RESERVATION else granted
        outcome = self._store.transact(
            [condition, self._unchanged(configuration)],
            [Put(key, terms.encode(), etcd_lease), self._mark(choice.subnets, terms)],
            [Get(self.config_key)],
        )
        if outcome.succeeded:
            return Lease(choice.subnets, terms, etcd_lease, outcome.revision)
        found = outcome.items[0].items
        if not found or found[0].mod_revision != configuration.revision:
            raise ConfigurationChanged(f"{self.config_key} was changed in the meantime")
        return None

    def _unchanged(self, configuration: Configuration) -> Compare:
        return Compare.mod_revision(self.config_key, configuration.revision)

    def _give_back(self, granted: Granted) -> None:
        """End an etcd lease that has no key on it; without etcd it ends by itself."""
        if granted.id:
            with suppress(EtcdError):
                self._store.revoke(granted.id)

    def _still_ours(self, lease: Lease, terms: Terms, outcome: Outcome) -> Lease:
        """Our lease after someone else wrote its key, or we did and never had the answer.

        It is ours if it hangs on our own etcd lease, whose number nobody else has, or if an
        operator made a reservation of it and it has our address.

        Raises:
            Lost: it is another's, or nobody's.
        """
        found = outcome.items[0].items
        if not found:
            raise Lost(f"the key of {lease.subnets} was deleted from etcd")
        now = self._read(found[0])
        if isinstance(now, Broken):
            raise Lost(f"the key of {lease.subnets} was overwritten: {now.reason}")
        mine = now.terms.same_host(lease.terms) or now.terms.same_host(terms)
        if now.lease == lease.lease != 0 or (now.reservation and mine):
            return now
        host = now.terms.public_ipv4 or now.terms.public_ipv6
        raise Lost(f"{lease.subnets} has another lease in etcd by now, of {host}")
