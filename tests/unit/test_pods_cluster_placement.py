"""Slots are given out evenly, and every host comes to the same, however late it hears."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent.cluster.placement import claims, homeless, matches, pinned
from podagent.cluster.records import HostRecord, SlotRecord
from podagent.cluster.view import Entry, View, Workload, slot_count
from podagent.types import Kind, Manifest
from pods_cluster_hosts import dice, manifest, parse


def view(manifests: list[Manifest], hosts: int = 0, *, ssd: int = 0) -> View:
    """A cluster of which nothing is claimed; the first `ssd` hosts have that label."""
    found = View(parse, revision=9)
    found.workloads = {each.name: Workload(each.name, 5, each) for each in manifests}
    for number in range(hosts):
        labels = {"disk": "ssd"} if number < ssd else {}
        found.hosts[f"h{number}"] = Entry(HostRecord(labels, (), accepts=True), 3, number)
    return found


def take(found: View, name: str, number: int, host: str) -> None:
    found.slots.setdefault(name, {})[number] = Entry(SlotRecord(host, "good-1"), 4, 1)


def claim_all(found: View, random: Random, *, stale: bool) -> list[tuple[str, int, str]]:
    """Hosts claim one after the other as chance has it, from what each has heard."""
    plans = {host: list(claims(found, host)) for host in found.hosts}
    taken = []
    while any(plans.values()):
        host = random.choice([each for each, plan in plans.items() if plan])
        name, number = plans[host].pop(0)
        assert number not in found.slots.get(name, {}), "a race"
        take(found, name, number, host)
        taken.append((name, number, host))
        if not stale or random.random() < 0.5:
            other = random.choice(list(found.hosts))
            plans[other] = list(claims(found, other))
    return taken


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(1, 6), st.integers(0, 2**32)
)
def test_from_fresh_the_spread_is_even_and_nobody_races(
    replicas: list[int], hosts: int, seed: int
) -> None:
    manifests = [manifest(f"w{index}", replicas=each) for index, each in enumerate(replicas)]
    fresh = claim_all(view(manifests, hosts), dice(0), stale=False)
    again = claim_all(view(manifests, hosts), dice(seed), stale=True)
    # What a host has heard late makes no difference.
    assert sorted(fresh) == sorted(again)
    for index, each in enumerate(replicas):
        of_this = Counter(host for name, _, host in fresh if name == f"w{index}")
        counts = [of_this[f"h{number}"] for number in range(hosts)]
        assert sum(counts) == each
        assert max(counts) - min(counts) <= 1


def test_single_replicas_are_spread_by_the_slots_in_all() -> None:
    found = view([manifest(f"w{index}", replicas=1) for index in range(9)], 3)
    claim_all(found, dice(1), stale=False)
    in_all = Counter(entry.value.host for _, _, entry in found.held_slots())
    assert sorted(in_all.values()) == [3, 3, 3]


def test_a_host_that_died_is_made_up_for_and_nothing_else_moves() -> None:
    found = view([manifest(replicas=4)], 4)
    before = claim_all(found, dice(1), stale=False)
    (lost,) = [number for _, number, host in before if host == "h2"]
    del found.hosts["h2"], found.slots["web"][lost]
    ((_, number, host),) = claim_all(found, dice(1), stale=False)
    assert (number, host != "h2") == (lost, True)
    found.hosts["h2"] = found.hosts["h1"]
    assert claim_all(found, dice(1), stale=False) == []


def test_only_hosts_that_accept_and_match_are_chosen() -> None:
    found = view([manifest(replicas=4, selector={"disk": "ssd"})], 4, ssd=2)
    assert {host for _, _, host in claim_all(found, dice(1), stale=False)} == {"h0", "h1"}
    found = view([manifest(replicas=2, selector={"disk": "ssd"})], 4, ssd=2)
    full = replace(found.hosts["h0"].value, accepts=False)
    found.hosts["h0"] = replace(found.hosts["h0"], value=full)
    assert {host for _, _, host in claim_all(found, dice(1), stale=False)} == {"h1"}
    found.hosts["h1"] = replace(found.hosts["h1"], value=full)
    found.slots.clear()
    assert all(claims(found, host) == () for host in found.hosts)
    assert homeless(found) == (("web", 0), ("web", 1))
    assert claims(found, "nobody") == ()


def test_nothing_is_claimed_of_a_manifest_that_is_refused() -> None:
    found = view([manifest()], 2)
    found.workloads["web"] = replace(found.workloads["web"], refused="1:1: bad")
    assert [claims(found, host) for host in found.hosts] == [(), ()]


@pytest.mark.parametrize(
    ("kind", "replicas", "node", "slots"),
    [
        (Kind.DEPLOYMENT, 3, None, 3),
        (Kind.DEPLOYMENT, 0, None, 0),
        (Kind.DAEMON_SET, None, None, None),
        (Kind.POD, None, "h1", None),
        (Kind.POD, None, None, 1),
        (Kind.POD, 1, None, 1),
    ],
)
def test_what_has_slots(kind: Kind, replicas: int | None, node: str | None, slots: int) -> None:
    each = manifest(kind=kind, replicas=replicas, node=node)
    assert slot_count(each) == slots
    assert Workload("web", 1, each).slots == (slots or 0)
    assert Workload("web", 1, None).slots == 0


def test_what_has_no_slots_is_for_all_hosts_it_matches_or_for_the_one_it_names() -> None:
    everywhere = manifest("a", kind=Kind.DAEMON_SET, replicas=None)
    fast = manifest("b", kind=Kind.DAEMON_SET, replicas=None, selector={"disk": "ssd"})
    there = manifest("c", kind=Kind.POD, replicas=None, node="h1")
    found = view([there, fast, everywhere, manifest("d")])
    assert pinned(found, "h1", {}) == (everywhere, there)
    assert pinned(found, "h2", {"disk": "ssd", "more": "x"}) == (everywhere, fast)
    assert matches(fast, {"disk": "ssd"})
    assert not matches(fast, {"disk": "hdd"})
