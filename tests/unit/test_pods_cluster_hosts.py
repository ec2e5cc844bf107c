"""No slot ever runs twice, and all come to run again, whatever happens to hosts and to etcd."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

import pods_cluster_hosts
from hostkit.etcd import Compare, Operation
from hostkit.etcd.values import Relation, Target
from podagent.cluster import plan, rollout, transactions
from podagent.cluster.plan import GiveBack, Me, SlotId, TakeDown, Verdict, verdicts
from podagent.cluster.records import SlotRecord, manifest_key
from podagent.cluster.tenure import Tenure
from podagent.cluster.transactions import Identity
from podagent.cluster.view import Entry, View
from pods_cluster_hosts import SimHost, World, manifest, view_of
from updater.errors import BedplateError

HOSTS = 4
# systemd starts a crashed agent again before the margin of 10 s is over.
RESTART = 8.0
hosts = st.integers(0, HOSTS - 1)
LENGTHS = st.sampled_from((1.0, 7.0, 22.0, 40.0))
DIGESTS = st.sampled_from(("good-1", "good-2", "crash-1", "never-1"))


class Cluster(RuleBasedStateMachine):
    """Hosts on one etcd, and all that may happen."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        labels = [{"disk": "ssd"} if number % 2 else {} for number in range(HOSTS)]
        self.world = World(seed, HOSTS, labels=labels)
        self.entered = self.world.running()
        self.entered.__enter__()
        for host in self.world.hosts:
            host.start()
        self.world.put(manifest())
        self.world.run(30.0)

    @rule(seconds=LENGTHS)
    def time(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(
        replicas=st.integers(0, 6),
        digest=DIGESTS,
        unavailable=st.integers(1, 3),
        selector=st.sampled_from(({}, {"disk": "ssd"})),
        name=st.sampled_from(("web", "db")),
    )
    def put(
        self, name: str, replicas: int, digest: str, unavailable: int, selector: dict[str, str]
    ) -> None:
        self.world.put(
            manifest(
                name,
                replicas=replicas,
                digest=digest,
                unavailable=unavailable,
                selector=selector,
            )
        )
        self.world.run(1.0)

    @rule(name=st.sampled_from(("web", "db")), how=st.sampled_from(("delete", "garble")))
    def spoil(self, name: str, how: str) -> None:
        if how == "delete":
            self.world.etcd.delete(manifest_key(name))
        else:
            self.world.etcd.put(manifest_key(name), b"garbage")
        self.world.run(1.0)

    @rule(host=hosts, after=st.sampled_from((0.0, RESTART)), cut=st.booleans(), seconds=LENGTHS)
    def crash(self, host: int, after: float, *, cut: bool, seconds: float) -> None:
        """The agent dies, perhaps in an outage, and is started again."""
        one = self.world.hosts[host]
        if one.member:
            one.link.up = one.link.up and not cut
            self.world.run(seconds)
            one.crash()
            one.restart = self.world.now + after
            self.world.run(seconds)

    @rule(host=hosts, seconds=LENGTHS)
    def reboot(self, host: int, seconds: float) -> None:
        self.world.hosts[host].power_off()
        self.world.hosts[host].restart = self.world.now + seconds

    @rule(some=st.sets(hosts, min_size=1), seconds=LENGTHS, heals=st.booleans())
    def cut_off(self, some: set[int], seconds: float, *, heals: bool) -> None:
        for number in some:
            self.world.hosts[number].link.up = False
        self.world.run(seconds)
        for host in self.world.hosts:
            host.link.up = host.link.up or heals

    @rule(host=hosts, strikes=st.lists(st.sampled_from(("unsent", "unanswered", "late", ""))))
    def strike(self, host: int, strikes: list[str]) -> None:
        self.world.hosts[host].link.strikes = list(strikes)

    @rule(host=hosts, seconds=st.sampled_from((0.5, 4.0, 9.0)))
    def slow(self, host: int, seconds: float) -> None:
        """What a host asks of etcd from now on is done only later."""
        self.world.hosts[host].slow_until = self.world.now + seconds

    @rule(first=st.integers(0, 3), then=st.integers(3, 6), host=hosts, after=LENGTHS)
    def there_and_back(self, first: int, then: int, host: int, after: float) -> None:
        """Fewer replicas are wanted, and more again before all have gone."""
        self.world.put(manifest(replicas=first))
        self.world.run(2.5)
        self.slow(host, 4.0)
        self.world.run(min(after, 3.5))
        self.world.put(manifest(replicas=then))

    @rule()
    def arrive(self) -> None:
        """What a host sent long ago is done now."""
        if self.world.late:
            with suppress(BedplateError):
                self.world.late.pop(0)()

    @rule()
    def compact(self) -> None:
        for host in self.world.hosts:
            if host.follower:
                host.follower.forget()

    @rule()
    def leader(self) -> None:
        self.world.etcd.extend()

    @rule(host=hosts, on=st.booleans(), forced=st.booleans())
    def drain(self, host: int, *, on: bool, forced: bool) -> None:
        self.world.hosts[host].draining = on
        self.world.hosts[host].forced = on and forced
        self.world.run(1.0)

    @rule(host=hosts)
    def end_lease(self, host: int) -> None:
        """The host is told that its lease has ended, as after a restore of etcd's data."""
        member = self.world.hosts[host].member
        if member and member.tenure.lease and self.world.hosts[host].link.up:
            member.hurry()
            self.world.run(2.0)

    def teardown(self) -> None:
        """Once all is well again, every slot has a replica of the manifest, if it is a good one."""
        if hasattr(self, "world"):
            try:
                self._recover()
            finally:
                self.entered.__exit__(None, None, None)

    def _recover(self) -> None:
        world = self.world
        world.late.clear()
        for host in world.hosts:
            host.link.up, host.draining, host.forced = True, False, False
            host.link.strikes.clear()
            if host.member is None and host.restart is None:
                host.restart = world.now
        for name in ("web", "db"):
            item = world.etcd.keys.get(manifest_key(name))
            if item and item.value == b"garbage":
                world.etcd.delete(manifest_key(name))
        world.run(400.0, until=self._settled)
        assert self._settled(), (world.etcd.keys, [host.pods for host in world.hosts])

    def _settled(self) -> bool:
        view = view_of(self.world.etcd)
        for name in ("web", "db"):
            digests = self.world.digests(name)
            workload = view.workloads.get(name)
            wanted = workload.manifest if workload else None
            if len(digests) != (wanted.replicas if wanted else 0):
                return False
            good = wanted is not None and wanted.digest.startswith("good")
            if wanted and good and set(digests) - {wanted.digest}:
                return False
        return not set(view.slots) - set(view.workloads)


def running(world: World) -> SimHost:
    """A host on which all replicas run."""
    (host,) = world.hosts
    host.start()
    world.put(manifest())
    assert world.run(60.0, until=lambda: world.up("web") == 3)
    return host


def test_an_agent_started_again_in_an_outage_leaves_replicas_until_the_fence() -> None:
    world = World(1, 1)
    with world.running():
        host = running(world)
        host.link.up = False
        world.run(5.0)
        host.crash()
        host.start()
        world.run(3.0)
        assert len(host.pods) == 3
        world.run(20.0)
        assert not host.pods


def test_a_new_lease_is_asked_for_when_no_replica_is_left() -> None:
    world = World(1, 1)
    with world.running():
        host = running(world)
        host.crash()
        host.saved.data = None
        host.start()
        assert host.member is not None
        host.member.tend(vacant=False)
        assert not any(worker.busy for worker in host.workers)
        assert host.member.next_time() == math.inf
        host.member.tend(vacant=True)
        assert any(worker.busy for worker in host.workers)


def search(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=15,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )


@pytest.mark.thorough
class TestClusterForLong(Cluster.TestCase):  # type: ignore[misc,valid-type]
    settings = search(500)


class TestCluster(Cluster.TestCase):  # type: ignore[misc,valid-type]
    settings = search(25)


def any_lease(view: View, me: Me) -> Iterator[tuple[str, int, Entry[SlotRecord]]]:
    for name, number, entry in view.held_slots():
        if entry.value.host == me.name:
            yield name, number, entry


def holds_always(key: str, _number: int = 0) -> Compare:
    """What makes of a conditional write an unconditional one."""
    return Compare(key, Target.MOD, -1, Relation.GREATER)


given_back, mod_revision = plan._given_back, Compare.mod_revision
take_down, give_back = transactions._take_down, transactions._give_back


def uncompared(key: str, revision: int) -> Compare:
    return holds_always(key) if "/rollouts/" in key else mod_revision(key, revision)


def gentle(*given: Any, **more: Any) -> dict[SlotId, Verdict]:  # noqa: ANN401 - passed on
    found = verdicts(*given, **more)
    return {
        slot: Verdict.STOP if verdict is Verdict.KILL else verdict
        for slot, verdict in found.items()
    }


def backwards(
    identity: Identity, step: TakeDown, now: float
) -> tuple[list[Compare], list[Operation]]:
    compare, then = take_down(identity, step, now)
    return compare, then[::-1]


def whatever_is_wanted(step: GiveBack) -> tuple[list[Compare], list[Operation]]:
    compare, then = give_back(step)
    return compare[:1], then


ERRORS: dict[str, Callable[[], object]] = {
    "no fence": lambda: patch.object(Tenure, "may_run", lambda self, _: self.lease != 0),
    "a slot is created without compare": lambda: patch.object(
        Compare, "absent", staticmethod(holds_always)
    ),
    "slots of former leases are ours": lambda: patch.object(plan, "_ours", any_lease),
    "a slot is given back while its replica runs": lambda: patch.object(
        plan, "_given_back", lambda view, ours, _: given_back(view, ours, frozenset())
    ),
    "a slot is given back that is wanted again": lambda: patch.object(
        transactions, "_give_back", whatever_is_wanted
    ),
    "others that are down do not count": lambda: patch.object(
        rollout, "may_take_down", lambda *_: True
    ),
    "the rollout record is not compared": lambda: patch.object(
        Compare, "mod_revision", staticmethod(uncompared)
    ),
    "a failed claim leaves the slots as they are": lambda: patch.object(
        plan, "_claimed", lambda *_: iter(())
    ),
    "a replica whose slot is another's may end in peace": lambda: patch.multiple(
        pods_cluster_hosts, verdicts=gentle, GRACE=60.0
    ),
    "who hears of a change has not heard of the slot": lambda: patch.object(
        transactions, "_take_down", backwards
    ),
}


# What is found soon is looked for each time.
SOON = {
    "no fence",
    "a slot is created without compare",
    "a slot is given back while its replica runs",
    "others that are down do not count",
}


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(error, marks=[] if error in SOON else [pytest.mark.thorough])
        for error in ERRORS
    ],
)
def test_the_search_finds_errors_put_in_on_purpose(error: str) -> None:
    class Broken(Cluster):
        pass

    quick = settings(search(3000), derandomize=True, phases=[Phase.generate], database=None)
    with ERRORS[error](), pytest.raises(AssertionError):  # type: ignore[attr-defined]
        run_state_machine_as_test(Broken, settings=quick)
