from dataclasses import replace

import pytest

from etcd_model import EtcdModel
from hostkit.etcd import LeaseNotFound
from podagent.cluster import transactions
from podagent.cluster.hosts import MACHINE
from podagent.cluster.plan import Claim, Me, Step, TakeDown, steps
from podagent.cluster.records import HostRecord, Report, host_key, manifest_key, report_key
from podagent.cluster.transactions import (
    Identity,
    NameTaken,
    agree,
    differences,
    enter,
    publish,
)
from pods_cluster_hosts import manifest, text, view_of

RECORD = HostRecord({MACHINE: "m1"}, ("10.0.0.1",), accepts=True)
UP = Report("Running", ready=True, digest="good-1", slot=0, available=True)


@pytest.fixture
def etcd() -> EtcdModel:
    found = EtcdModel(now=1000.0)
    found.put(manifest_key("web"), text(manifest(replicas=1)))
    return found


def joined(etcd: EtcdModel) -> Identity:
    identity = Identity("a", etcd.grant(30).id)
    enter(etcd, identity, RECORD)
    return identity


def planned(etcd: EtcdModel, identity: Identity) -> tuple[Step, ...]:
    return steps(view_of(etcd), Me(identity.host, identity.lease), [])


def up(etcd: EtcdModel) -> Identity:
    """A host whose one replica is up."""
    identity = joined(etcd)
    (claim,) = planned(etcd, identity)
    assert agree(etcd, identity, claim, 1.0)
    publish(etcd, differences(view_of(etcd), identity, {"web-0": UP}))
    return identity


# --- The host's record ----------------------------------------------------------------------------


def test_a_hosts_record_hangs_on_its_lease_and_follows_it(etcd: EtcdModel) -> None:
    identity = joined(etcd)
    full = replace(RECORD, accepts=False, why="/var is nearly full")
    enter(etcd, identity, full)
    assert view_of(etcd).hosts["a"].value == full
    # After a reboot the former lease is still there.
    again = Identity("a", etcd.grant(30).id)
    enter(etcd, again, RECORD)
    assert etcd.keys[host_key("a")].lease == again.lease
    etcd.revoke(identity.lease)
    assert host_key("a") in etcd.keys
    etcd.revoke(again.lease)
    assert host_key("a") not in etcd.keys
    with pytest.raises(LeaseNotFound):
        enter(etcd, again, RECORD)


def test_another_machine_of_that_name_is_told(etcd: EtcdModel) -> None:
    joined(etcd)
    other = replace(RECORD, labels={MACHINE: "m2"})
    with pytest.raises(NameTaken, match="/bedplate/hosts/a"):
        enter(etcd, Identity("a", etcd.grant(30).id), other)
    assert view_of(etcd).hosts["a"].value == RECORD


def test_a_record_that_is_none_is_written_over(etcd: EtcdModel) -> None:
    etcd.put(host_key("a"), b"garbage")
    joined(etcd)
    assert view_of(etcd).hosts["a"].value == RECORD


# --- Steps ----------------------------------------------------------------------------------------


def test_a_slot_is_claimed_once_for_the_manifest_that_was_seen(etcd: EtcdModel) -> None:
    identity = joined(etcd)
    (claim,) = planned(etcd, identity)
    assert isinstance(claim, Claim)
    other = Identity("b", etcd.grant(30).id)
    assert agree(etcd, other, claim, 1.0) is None  # it has no record
    late = replace(claim, manifest_revision=claim.manifest_revision - 1)
    assert agree(etcd, identity, late, 1.0) is None
    assert agree(etcd, identity, claim, 1.0) == etcd.revision
    assert agree(etcd, identity, claim, 1.0) is None
    slot = view_of(etcd).slots["web"][0]
    assert (slot.value.host, slot.value.since, slot.lease) == ("a", 1.0, identity.lease)
    etcd.revoke(identity.lease)
    assert not view_of(etcd).slots


def test_of_two_that_decide_at_once_one_goes(etcd: EtcdModel) -> None:
    identity = up(etcd)
    etcd.put(manifest_key("web"), text(manifest(replicas=1, digest="good-2")))
    (step,) = planned(etcd, identity)
    assert isinstance(step, TakeDown)
    # Another slot's holder was faster.
    assert step.rollout is not None
    etcd.put("/bedplate/rollouts/web", b"{}")
    assert agree(etcd, identity, step, 2.0) is None
    (step,) = planned(etcd, identity)
    assert agree(etcd, identity, step, 2.0)
    view = view_of(etcd)
    assert view.slots["web"][0].value.digest == "good-2"
    assert view.rollouts["web"].value.digest == "good-2"
    assert not view.reports, "what was reported is true no more"


def test_a_late_report_does_not_make_well_what_is_in_change(etcd: EtcdModel) -> None:
    identity = up(etcd)
    late = differences(view_of(etcd), identity, {"web-0": replace(UP, restarts=1)})
    etcd.put(manifest_key("web"), text(manifest(replicas=1, digest="good-2")))
    (step,) = planned(etcd, identity)
    never = differences(view_of(etcd), identity, {})
    assert agree(etcd, identity, step, 2.0)
    assert publish(etcd, late) is None
    assert publish(etcd, never) is None
    assert not view_of(etcd).reports


# --- Reports --------------------------------------------------------------------------------------


def test_reports_are_written_when_they_differ(etcd: EtcdModel) -> None:
    identity = up(etcd)
    assert differences(view_of(etcd), identity, {"web-0": UP}) == ()
    more = {f"pod-{number}": replace(UP, slot=None) for number in range(100)}
    writes = differences(view_of(etcd), identity, more)
    assert len(writes) == 101
    before = etcd.transactions
    assert publish(etcd, writes) == etcd.revision
    assert etcd.transactions - before == 3
    view = view_of(etcd)
    assert {pod for _, pod in view.reports} == set(more)
    assert differences(view, identity, more) == ()
    # A new lease takes all of them over.
    again = Identity("a", etcd.grant(30).id)
    writes = differences(view, again, more)
    assert publish(etcd, writes)
    etcd.revoke(identity.lease)
    assert {pod for _, pod in view_of(etcd).reports} == set(more)


def test_a_transaction_is_not_larger_than_etcd_takes() -> None:
    # Each report has two conditions at most; --max-txn-ops is 128 by default.
    assert transactions._MOST_REPORTS * 2 <= 128
    assert report_key("a", "web-0") == "/bedplate/status/a/web-0"
