"""Which pods the cluster wants of this host: only those whose slots are on our lease."""

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent.cluster.plan import Me
from podagent.cluster.records import SlotRecord, instance_id
from podagent.cluster.replicas import Declared, Here, declare, without_cluster
from podagent.cluster.view import Entry, View, Workload
from podagent.observed import ContainerState, PodState
from podagent.types import Instance, Kind, Manifest, Origin
from pods_cluster_hosts import manifest, parse

ME = Me("one", 7)
OTHER = 8
NAMES = ("web", "web-1", "db")
DIGESTS = ("old", "new", "lost")


def pod(name: str, slot: int | None = None, digest: str = "old", *, runs: bool = True) -> PodState:
    container = ContainerState("main", f"{name}-main", "a:1", "", running=runs, started=1)
    return PodState(name, digest, slot, 1.0, (), (container,))


def view(
    manifests: Iterable[Manifest] = (),
    slots: Mapping[tuple[str, int], tuple[str, int]] | None = None,
    *,
    revision: int = 1,
) -> View:
    """What is known; `slots` have digest and lease."""
    found = View(parse, revision)
    found.workloads = {each.name: Workload(each.name, 1, each) for each in manifests}
    for (name, number), (digest, lease) in (slots or {}).items():
        host = "one" if lease == ME.lease else "two"
        entry = Entry(SlotRecord(host, digest), 1, lease)
        found.slots.setdefault(name, {})[number] = entry
    return found


def lookup(*manifests: Manifest) -> Mapping[str, Manifest]:
    return {each.digest: each for each in manifests}


def fixed(name: str, digest: str = "old") -> Manifest:
    return manifest(name, kind=Kind.DAEMON_SET, replicas=None, digest=digest)


def declared(
    known: View,
    here: Here,
    manifests: Mapping[str, Manifest] | None = None,
    *,
    may_run: bool = True,
) -> Declared:
    return declare(known, ME, {}, here, (manifests or {}).get, may_run=may_run)


def empty(own: Iterable[str] = ()) -> Here:
    return Here.of((), (), own)


def test_a_slot_is_run_in_the_version_that_it_says() -> None:
    old, new = manifest(digest="old"), manifest(digest="new")
    known = view([new], {("web", 0): ("old", 7), ("web", 1): ("new", 7), ("web", 2): ("new", 8)})
    found = declared(known, empty(), lookup(old, new))
    assert [(each.id, each.manifest.digest) for each in found.instances] == [
        ("web-0", "old"),
        ("web-1", "new"),
    ]
    assert {each.origin for each in found.instances} == {Origin.CLUSTER}


def test_one_of_an_unknown_version_is_left_as_it_is() -> None:
    known = view([manifest(digest="new")], {("web", 0): ("lost", 7)})
    found = declared(known, Here.of([pod("web-0", 0, "lost")], (), ()))
    assert found == Declared(kept=frozenset({"web-0"}))


def test_without_the_lease_all_replicas_are_killed_and_nothing_else() -> None:
    here = Here.of([pod("web-0", 0), pod("agent"), pod("own")], (), ["own"])
    known = view([manifest(), fixed("agent")], {("web", 0): ("good-1", 7)})
    found = declared(known, here, may_run=False)
    assert found.fenced == {"web-0"}
    assert [each.id for each in found.instances] == ["agent"]


def test_what_is_being_played_is_killed_too() -> None:
    playing = Instance("web-2", manifest(), Origin.CLUSTER, 2)
    here = Here.of([], [playing], ())
    assert declared(view(), here, may_run=False).fenced == {"web-2"}
    assert without_cluster(here).fenced == {"web-2"}


def test_before_the_cluster_is_heard_all_goes_on() -> None:
    replica, agent = manifest(digest="r"), fixed("agent", "a")
    pods = [
        pod("web-0", 0, "r"),
        pod("agent", None, "a"),
        pod("left", None, "x"),
        pod("cut", None, "x", runs=False),
        pod("own", None, "x", runs=False),
    ]
    here = Here.of(pods, (), ["own"])
    found = declared(view(revision=0), here, lookup(replica, agent))
    assert [each.id for each in found.instances] == ["agent", "web-0"]
    # What runs and is nobody's was started in this boot by the folder's word.
    assert found.kept == {"cut"}
    assert not found.fenced
    assert [each.id for each in declared(view(revision=0), here, {}).instances] == []


def test_two_pods_of_one_name_are_not_mixed() -> None:
    known = view(
        [manifest(), fixed("web-1"), fixed("own")],
        {("web", 0): ("good-1", 7), ("web", 1): ("good-1", 7)},
    )
    found = declared(known, empty(["own"]), lookup(manifest()))
    assert [each.id for each in found.instances] == ["web-1", "web-0"]
    assert set(found.refused) == {"/bedplate/pods/own", "/bedplate/pods/web"}
    assert (
        "its pod web-1 has the name of a pod of /bedplate/pods/web-1"
        in (found.refused["/bedplate/pods/web"])
    )


def test_what_cannot_be_read_is_told() -> None:
    known = view()
    known.workloads["bad"] = Workload("bad", 1, None, "bad:1:1: no manifest")
    assert declared(known, empty()).refused == {"/bedplate/pods/bad": "bad:1:1: no manifest"}


slot_ids = st.tuples(st.sampled_from(NAMES), st.integers(0, 3))
pods_here = st.one_of(
    st.builds(
        lambda slot, digest, runs: pod(instance_id(*slot), slot[1], digest, runs=runs),
        slot_ids,
        st.sampled_from(DIGESTS),
        st.booleans(),
    ),
    st.builds(pod, st.sampled_from(NAMES), st.none(), st.sampled_from(DIGESTS)),
)
views = st.builds(
    view,
    st.lists(
        st.one_of(
            st.builds(
                manifest,
                st.sampled_from(NAMES),
                replicas=st.integers(0, 4),
                digest=st.sampled_from(DIGESTS[:2]),
            ),
            st.builds(fixed, st.sampled_from(NAMES), st.sampled_from(DIGESTS[:2])),
        ),
        unique_by=lambda each: each.name,
    ),
    st.dictionaries(
        slot_ids, st.tuples(st.sampled_from(DIGESTS), st.sampled_from((ME.lease, OTHER)))
    ),
    revision=st.sampled_from((0, 1)),
)


@pytest.mark.parametrize("may_run", [True, False])
@given(
    known=views,
    pods=st.lists(pods_here, unique_by=lambda each: each.id),
    own=st.sets(st.sampled_from((*NAMES, "web-0"))),
)
def test_only_what_may_run_is_run(
    known: View, pods: list[PodState], own: set[str], *, may_run: bool
) -> None:
    if not known.revision:
        known = view(revision=0)
    here = Here.of(pods, (), own)
    manifests = lookup(manifest(digest="old"), manifest(digest="new"))
    found = declared(known, here, manifests, may_run=may_run)
    ids = [each.id for each in found.instances]
    assert len({*ids, *own}) == len(ids) + len(own), "a name twice"
    assert not found.kept & {*ids, *own}
    assert found.fenced <= {instance_id(*slot) for slot in here.slots}
    for each in found.instances:
        if each.slot is None:
            continue
        assert may_run
        if known.revision:
            name = each.id.removesuffix(f"-{each.slot}")
            entry = known.slots[name][each.slot]
            assert (entry.lease, entry.value.digest) == (ME.lease, each.manifest.digest)
    for name, number in here.slots:
        entry_or_none = known.slots.get(name, {}).get(number)
        ours = entry_or_none is not None and entry_or_none.lease == ME.lease
        pod_id = instance_id(name, number)
        assert (pod_id in found.fenced) or (may_run and (ours or not known.revision))
