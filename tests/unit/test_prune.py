import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_kit import elf, names, plant, readelf, tools
from builder.steps.prune import ProofError, Rules, offenders, prove, prune

NO_RULES = Rules((), ())


def pruned(
    tree: Path, files: dict[str, str | bytes], drop: list[str], keep: list[str] | None = None
) -> set[str]:
    plant(tree, files)
    prune(tree, drop, keep or [], tools(readelf))
    return names(tree)


def test_what_is_dropped_goes_and_what_is_kept_stays(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"usr/share/doc/a/b": "", "usr/share/x": "", "etc/y": ""}
    assert pruned(tmp_path, files, ["usr/share/**"], ["usr/share/x"]) == {"usr/share/x", "etc/y"}


def test_a_name_with_a_newline_does_not_slip_through(tmp_path: Path) -> None:
    assert pruned(tmp_path, {"usr/doc/a\nb/c": "", "usr/x": ""}, ["usr/doc/**"]) == {"usr/x"}


def test_what_is_kept_takes_its_libraries_and_links_along(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "usr/sbin/iptables": "-> /etc/alternatives/iptables",
        "etc/alternatives/iptables": "-> /usr/sbin/iptables-nft",
        "usr/sbin/iptables-nft": "-> xtables-nft-multi",
        "usr/sbin/xtables-nft-multi": elf("libx.so.1"),
        "usr/sbin/other": elf("libother.so.1"),
        "usr/lib/x86_64-linux-gnu/libx.so.1": elf(),
        "usr/lib/x86_64-linux-gnu/libother.so.1": elf(),
        "etc/alternatives/other": "-> /usr/sbin/other",
    }
    drop = ["usr/sbin/**", "usr/lib/**", "etc/alternatives/**"]
    assert pruned(tmp_path, files, drop, ["usr/sbin/iptables"]) == {
        "usr/sbin/iptables",
        "etc/alternatives/iptables",
        "usr/sbin/iptables-nft",
        "usr/sbin/xtables-nft-multi",
        "usr/lib/x86_64-linux-gnu/libx.so.1",
    }


def test_links_that_end_nowhere_go(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "usr/lib/gone": "-> nowhere",
        "usr/lib/chain": "-> gone",
        "usr/lib/circle": "-> circle",
        "usr/lib/dev": "-> dev/null",
        "usr/lib/there": "-> ../../etc/x",
        "etc/x": "",
    }
    assert pruned(tmp_path, files, []) == {"usr/lib/there", "etc/x"}


@pytest.mark.parametrize(
    "target",
    [
        *("/dev/null", "../../run/x", "/proc/self/mounts", "/var/lib/x", "/sys/x", "/tmp/x"),  # noqa: S108
        *("/run", "../../../../../run/x"),
    ],
)
def test_links_to_what_is_filled_later_stay(tmp_path: Path, target: str) -> None:
    assert pruned(tmp_path, {"usr/lib/x": f"-> {target}"}, []) == {"usr/lib/x"}


def test_a_link_that_only_begins_like_one_to_run_goes(tmp_path: Path) -> None:
    assert pruned(tmp_path, {"usr/lib/x": "-> sys/x.h", "usr/lib/y": "-> ../run/x"}, []) == set()


def test_a_link_to_a_folder_that_was_emptied_goes(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"usr/man": "-> share/man", "usr/share/man/a": "", "usr/x": ""}
    assert pruned(tmp_path, files, ["usr/share/**"]) == {"usr/x"}
    assert not (tmp_path / "usr/share").exists()


def test_a_link_to_a_folder_that_no_image_has_goes(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"usr/x": "-> /srv/x", "srv/x": "", "usr/y": ""}
    assert pruned(tmp_path, files, []) == {"usr/y"}


@pytest.mark.parametrize(
    ("first_line", "stays"),
    [
        ("#!/bin/sh -e", True),
        ("#! /bin/sh", True),
        ("#!/usr/bin/dash", True),
        ("#!/usr/bin/env python3", False),
        ("#!/usr/bin/perl", False),
        ("#!", False),
        ("#!\n/bin/sh", False),
    ],
)
def test_scripts_stay_with_their_interpreter(
    tmp_path: Path, first_line: str, *, stays: bool
) -> None:
    files: dict[str, str | bytes] = {
        "bin": "-> usr/bin",
        "usr/bin/sh": "-> dash",
        "usr/bin/dash": elf(),
        "usr/lib/script": first_line,
    }
    assert ("usr/lib/script" in pruned(tmp_path, files, [])) == stays


def test_a_script_without_its_interpreter_that_nobody_runs_stays(tmp_path: Path) -> None:
    plant(tmp_path, {"usr/share/sample": "#!/usr/bin/perl\n"})
    (tmp_path / "usr/share/sample").chmod(0o644)
    prune(tmp_path, [], [], tools(readelf))
    assert names(tmp_path) == {"usr/share/sample"}


def test_an_orphan_takes_what_leads_to_it_along(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        # In the order of the tree both stand before what they need.
        "usr/bin/link": "-> ../lib/script",
        "usr/bin/by-script": "#!/usr/lib/script\n",
        "usr/lib/script": "#!/usr/bin/perl\n",
        "usr/x": "",
    }
    assert pruned(tmp_path, files, []) == {"usr/x"}


def test_a_pipe_is_not_read_to_see_whether_it_is_a_script(tmp_path: Path) -> None:
    plant(tmp_path, {"usr/x": ""})
    os.mkfifo(tmp_path / "usr/pipe", 0o777)
    prune(tmp_path, [], [], tools(readelf))
    assert offenders(tmp_path, NO_RULES) == ["/usr/pipe: neither file, folder nor link"]


def test_folders_that_a_host_has_no_use_for_go(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"var/lib/dpkg/status": "", "boot/vmlinuz": "", "etc/x": ""}
    (tmp_path / "usr/a/b/c").mkdir(parents=True)
    assert pruned(tmp_path, {**files, "usr/y": ""}, []) == {"etc/x", "usr/y"}
    assert {path.name for path in tmp_path.iterdir()} == {"etc", "usr"}
    assert {path.name for path in (tmp_path / "usr").iterdir()} == {"y"}


PLACE = st.sampled_from([f"usr/{folder}/{name}" for folder in "ab" for name in ("x", "y", "z")])
CONTENT = PLACE.map(lambda target: f"-> /{target}") | st.sampled_from(
    ["", "#!/usr/a/x\n", "#!/usr/b/z\n", "-> ../b/y", "-> /run/x"]
)
GLOBS = st.lists(st.sampled_from(["usr/a/**", "usr/*/x", "**/y", "usr/b/z", "**"]), max_size=2)


@given(files=st.dictionaries(PLACE, CONTENT, max_size=6), drop=GLOBS, keep=GLOBS)
def test_a_pruned_tree_is_whole_and_pruning_again_takes_nothing(
    files: dict[str, str | bytes],
    drop: list[str],
    keep: list[str],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        left = pruned(tree, files, drop, keep)
        assert left <= set(files)
        assert offenders(tree, NO_RULES) == []
        prune(tree, drop, keep, tools(readelf))
        assert names(tree) == left


def test_every_kind_of_offender_is_named(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "usr/bin/bash": elf(),
            "usr/bin/good": "#!/usr/bin/python3\n",
            "usr/bin/mount": elf(),
            "usr/bin/passwd": elf(),
            "usr/bin/python3": elf(),
            "usr/bin/sh": "-> bash",
            "usr/bin/wall": elf(),
            "usr/lib/script": "#!/usr/bin/perl -w\n",
            "usr/lib/wants": "-> ../missing.service",
            "usr/lib/masked": "-> /dev/null",
        },
    )
    (tmp_path / "usr/bin/passwd").chmod(0o4755)
    (tmp_path / "usr/bin/mount").chmod(0o4755)
    (tmp_path / "usr/bin/wall").chmod(0o2755)
    os.mkfifo(tmp_path / "usr/pipe")
    rules = Rules(forbidden=("**/sh", "**/bash"), setuid=("usr/bin/mount",))
    expected = [
        "/usr/pipe: neither file, folder nor link",
        "/usr/bin/bash: forbidden",
        "/usr/bin/passwd: setuid or setgid, and not on the list",
        "/usr/bin/sh: forbidden",
        "/usr/bin/wall: setuid or setgid, and not on the list",
        "/usr/lib/script: a script whose interpreter is not in the image",
        "/usr/lib/wants: a link to ../missing.service, which is not in the image",
    ]
    assert offenders(tmp_path, rules) == expected
    with pytest.raises(ProofError) as caught:
        prove(tmp_path, rules)
    first, *listing = str(caught.value).splitlines()
    assert "breaks 7 of its rules" in first
    assert listing == [f"  {line}" for line in expected]


def test_a_file_may_offend_twice(tmp_path: Path) -> None:
    plant(tmp_path, {"usr/bin/su": "#!/bin/sh\n"})
    (tmp_path / "usr/bin/su").chmod(0o4755)
    assert len(offenders(tmp_path, Rules(("**/su",), ()))) == 3


def test_a_tree_without_offenders_is_proved(tmp_path: Path) -> None:
    plant(tmp_path, {"usr/bin/python3": elf(), "usr/bin/tool": "#!/usr/bin/python3 -I\n"})
    prove(tmp_path, Rules(("**/sh",), ()))
