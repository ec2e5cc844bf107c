"""The planner: what is written, taken back, told to systemd, and shown."""

from dataclasses import replace
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.desired import Affects, Command, Desired, Fetched, File, Link, Reaction
from cloudconfig.plan import (
    Drop,
    Observed,
    Put,
    React,
    ReloadManager,
    Run,
    Seen,
    SetHostname,
    StartWanted,
    describe,
    make_plan,
    managed_after,
    merged,
)
from cloudconfig.verbs import UnitCommand

MOTD = PurePosixPath("/etc/motd")
UNIT = PurePosixPath("/etc/systemd/system/web.service")


def seen(item: File) -> Seen:
    return Seen(item.content, item.mode, item.owner, item.group)


def test_a_host_that_is_as_it_should_be_is_left_alone() -> None:
    file, link = File(MOTD, b"hi"), Link(PurePosixPath("/etc/localtime"), "x")
    observed = Observed({MOTD: seen(file), link.path: Seen(target="x")})
    assert make_plan(Desired(items=(file, link)), observed) == ()


def test_content_mode_owner_and_group_are_each_a_difference() -> None:
    file = File(MOTD, b"hi")
    for was in (
        replace(seen(file), content=b"ho"),
        replace(seen(file), mode=0o600),
        replace(seen(file), owner="web"),
        replace(seen(file), group="web"),
        Seen(target="/dev/null"),
    ):
        assert make_plan(Desired(items=(file,)), Observed({MOTD: was})) == (Put(file, was),)


def test_an_owner_may_be_a_number() -> None:
    file = File(MOTD, b"hi", owner="1000", group="1001")
    was = replace(seen(file), owner="web", group="staff", ids=(1000, 1001))
    assert make_plan(Desired(items=(file,)), Observed({MOTD: was})) == ()
    other = replace(was, ids=(1000, 1002))
    assert make_plan(Desired(items=(file,)), Observed({MOTD: other})) == (Put(file, other),)


def test_what_an_earlier_document_wrote_is_taken_back() -> None:
    was, original = Seen(b"ours", 0o644, "root", "root"), Seen(b"image's", 0o644, "root", "root")
    observed = Observed({MOTD: was}, managed={MOTD: ()})
    assert make_plan(Desired(), observed) == (Drop(MOTD, was, None),)
    observed = replace(observed, originals={MOTD: original})
    assert make_plan(Desired(), observed) == (Drop(MOTD, was, original),)


def test_a_unit_that_is_no_more_is_stopped_before_systemd_forgets_it() -> None:
    was = Seen(b"[Service]", 0o644, "root", "root")
    changes = make_plan(Desired(), Observed({UNIT: was}, managed={UNIT: ()}))
    assert changes == (Run("web.service", UnitCommand.STOP), Drop(UNIT, was, None), ReloadManager())


def test_who_read_a_file_notices_that_it_is_gone() -> None:
    was = Seen(b"", 0o644, "root", "root")
    reload = Affects("systemd-networkd.service", Reaction.RELOAD)
    changes = make_plan(Desired(), Observed({MOTD: was}, managed={MOTD: (reload,)}))
    assert changes == (Drop(MOTD, was, None, (reload,)), React(reload.unit, reload.reaction))
    again = managed_after(Desired(items=(File(MOTD, b"", affects=(reload,)),)), {MOTD: ()}, ())
    assert again == {MOTD: (reload,)}


def test_a_unit_that_is_gone_with_its_files_is_not_restarted() -> None:
    was, own = Seen(b"", 0o644, "root", "root"), (Affects("web.service"),)
    drop_in = UNIT.parent / "web.service.d/10-x.conf"
    observed = Observed({UNIT: was, drop_in: was}, managed={UNIT: own, drop_in: own})
    assert not [each for each in make_plan(Desired(), observed) if type(each) is React]


def test_at_boot_nothing_is_restarted_but_what_applies_files() -> None:
    file = File(MOTD, b"x", affects=(Affects("a.service"), Affects("b.service", Reaction.START)))
    at_boot = make_plan(Desired(items=(file,)), Observed(booting=True))
    assert at_boot == (Put(file, None), React("b.service", Reaction.START))
    later = make_plan(Desired(items=(file,)), Observed())
    assert React("a.service", Reaction.RESTART) in later


def test_a_unit_that_many_files_affect_is_told_once() -> None:
    files = tuple(
        File(PurePosixPath(f"/etc/x/{number}"), b"", affects=(Affects("a.service"),))
        for number in range(3)
    )
    reactions = [
        each for each in make_plan(Desired(items=files), Observed()) if type(each) is React
    ]
    assert reactions == [React("a.service", Reaction.RESTART)]


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_started_is_not_restarted_besides(*, turned: bool) -> None:
    files = [
        File(
            PurePosixPath(f"/etc/x/{reaction.name}"), b"", affects=(Affects("a.target", reaction),)
        )
        for reaction in (Reaction.RESTART, Reaction.START)
    ]
    desired = Desired(items=tuple(reversed(files) if turned else files))
    for booting in (False, True):
        changes = make_plan(desired, Observed(booting=booting))
        found = [each for each in changes if type(each) is React]
        assert found == [React("a.target", Reaction.START)]


def test_commands_run_at_boot_and_then_only_for_what_changed() -> None:
    start = Command("web.service", UnitCommand.START)
    file = File(UNIT, b"[Service]", affects=(Affects("web.service"),))
    desired = Desired(items=(file,), commands=(start,))
    run = Run("web.service", UnitCommand.START)
    same = Observed({UNIT: seen(file)}, commands=frozenset({start}))
    assert run in make_plan(desired, replace(same, booting=True))
    assert make_plan(desired, same) == ()
    assert run in make_plan(desired, replace(same, commands=frozenset()))
    assert run in make_plan(desired, replace(same, files={UNIT: Seen(b"other")}))


def test_what_a_target_of_the_boot_wants_is_started() -> None:
    folder = PurePosixPath("/etc/systemd/system")
    links = tuple(
        Link(folder / f"{target}.target.wants/{name}", "../x")
        for target, name in (("local-fs", "a.mount"), ("multi-user", "b.service"), ("rescue", "c"))
    )
    changes = make_plan(Desired(items=links), Observed())
    assert changes[-2:] == (ReloadManager(), StartWanted(("a.mount", "b.service")))


def test_systemd_reads_a_unit_by_itself_that_it_does_not_know() -> None:
    folder = UNIT.parent
    unit, link = File(UNIT, b"[Service]\n"), Link(folder / "basic.target.wants/a", "../a")
    alone, booting = Desired(items=(unit,)), Observed(booting=True)

    def reloads(desired: Desired, observed: Observed) -> bool:
        return any(isinstance(each, ReloadManager) for each in make_plan(desired, observed))

    assert not reloads(alone, booting)
    assert reloads(alone, Observed())
    assert reloads(alone, replace(booting, units=frozenset({UNIT.name})))
    assert reloads(alone, replace(booting, files={UNIT: Seen(b"other")}))
    assert reloads(alone, replace(booting, files={UNIT: Seen()}, managed={UNIT: ()}))
    assert reloads(Desired(items=(unit, link)), booting)
    wanted = Link(folder / "multi-user.target.wants/web.service", "../web.service")
    assert not reloads(Desired(items=(unit, wanted)), booting)
    assert make_plan(Desired(items=(unit, wanted)), booting)[-1] == StartWanted(("web.service",))
    assert reloads(Desired(items=(unit, wanted)), Observed())
    assert reloads(
        Desired(items=(wanted,)), replace(booting, files={wanted.path: Seen(target="../x")})
    )
    required = Link(folder / "multi-user.target.requires/web.service", "../web.service")
    assert reloads(Desired(items=(unit, required)), booting)
    remote = Link(folder / "remote-fs.target.wants/var-nas.mount", "../var-nas.mount")
    assert reloads(Desired(items=(remote,)), booting)
    piece = File(folder / "web.service.d/x.conf", b"[Service]\n")
    assert reloads(Desired(items=(piece,)), booting)
    mask = Link(UNIT, "/dev/null")
    assert reloads(Desired(items=(mask,)), booting)


def test_an_extension_is_merged_before_units_are_read() -> None:
    start = Reaction.START
    affects = (Affects("systemd-sysext.service", start), Affects("x.target", start))
    item = Fetched(PurePosixPath("/var/lib/extensions/x.raw"), "https://x", "0", affects=affects)
    assert make_plan(Desired(items=(item,)), Observed())[1:] == (
        React("systemd-sysext.service", start),
        ReloadManager(),
        React("x.target", start),
    )


def test_the_hostname_is_told_to_the_kernel() -> None:
    name = File(PurePosixPath("/etc/hostname"), b"web-1\n")
    assert SetHostname("web-1") in make_plan(Desired(items=(name,)), Observed())


def test_appending_adds_to_the_original_once() -> None:
    more = File(MOTD, b"more\n", append=True)
    first = Observed({MOTD: Seen(b"image\n", 0o644, "root", "root")})
    (item,) = merged((more,), first)
    assert isinstance(item, File)
    assert item.content == b"image\nmore\n"
    again = Observed(
        {MOTD: seen(item)},
        managed={MOTD: ()},
        originals={MOTD: Seen(b"image\n", 0o644, "root", "root")},
    )
    assert make_plan(Desired(items=(more,)), again) == ()


def test_two_appends_are_both_there() -> None:
    items = (File(MOTD, b"a", append=True), File(MOTD, b"b", append=True))
    (item,) = merged(items, Observed())
    assert isinstance(item, File)
    assert item.content == b"ab"


def test_secrets_are_not_shown() -> None:
    item = File(MOTD, b"hunter2", mode=0o600, secret=True)
    shown = describe(Put(item, Seen(b"hunter1", 0o600, "root", "root")))
    assert "hunter" not in "\n".join(shown)
    assert "hunter" not in repr(item)


def test_a_difference_is_shown() -> None:
    shown = describe(Put(File(MOTD, b"a\nc\n"), Seen(b"a\nb\n", 0o644, "root", "root")))
    assert shown[0] == "change /etc/motd (0644 root:root)"
    assert "    -b" in shown
    assert "    +c" in shown


PATHS = st.sampled_from([PurePosixPath(f"/etc/{name}") for name in "abcd"])
CONTENTS = st.sampled_from([b"1", b"2"])
FILES = st.lists(st.builds(File, PATHS, CONTENTS, append=st.booleans()), max_size=6)


def carried_out(observed: Observed, desired: Desired) -> Observed:
    """What `apply` makes of a plan, in a model."""
    files, originals = dict(observed.files), dict(observed.originals)
    changes = make_plan(desired, observed)
    for change in changes:
        if isinstance(change, Put):
            if change.was is not None and change.item.path not in observed.managed:
                originals[change.item.path] = change.was
            assert isinstance(change.item, File)
            files[change.item.path] = seen(change.item)
        elif isinstance(change, Drop):
            del files[change.path]
            if change.original:
                files[change.path] = change.original
            originals.pop(change.path, None)
    managed = managed_after(desired, observed.managed, changes)
    return Observed(files, managed, originals)


@given(st.dictionaries(PATHS, st.builds(Seen, CONTENTS)), st.lists(FILES, min_size=1, max_size=4))
def test_plans_converge_and_leave_no_trace(
    image: dict[PurePosixPath, Seen], documents: list[list[File]]
) -> None:
    """After any history, a document gives what it gives on a fresh host; and none gives that."""
    image = {path: Seen(each.content, 0o644, "root", "root") for path, each in image.items()}
    observed = Observed(dict(image))
    for items in documents:
        desired = Desired() + Desired(items=tuple(items))
        observed = carried_out(observed, desired)
        assert make_plan(desired, observed) == ()
        assert observed.files == carried_out(Observed(dict(image)), desired).files
    assert carried_out(observed, Desired()).files == image
