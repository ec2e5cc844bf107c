"""The units of root's side, and of a host that leaves its cluster."""

import re
import sys
from pathlib import Path

import pytest

from updater import efivars, programs

DIST = Path(__file__).parents[2] / "cloud-config/dist"
SOCKET = (DIST / "bedplate-api-act.socket").read_text()
ACT = (DIST / "bedplate-api-act@.service").read_text()
LEAVE = (DIST / "bedplate-leave.service").read_text()
WIPE = (Path(__file__).parents[2] / "updater/dist/bedplate-wipe.service").read_text()


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


def test_only_the_server_s_group_may_ask() -> None:
    assert values(SOCKET, "ListenStream") == ["/run/bedplate/api/acts.sock"]
    assert values(SOCKET, "SocketMode") == ["0660"]
    assert values(SOCKET, "SocketGroup") == ["bedplate-api"]
    assert values(SOCKET, "SocketUser") == []
    assert values(SOCKET, "Accept") == ["yes"]
    # Four acts at a time, and those that have just ended.
    assert values(SOCKET, "MaxConnections") == ["8"]


def test_nothing_but_the_protocol_goes_to_the_client() -> None:
    assert values(ACT, "ExecStart") == ["/usr/bin/bedplate-api-act"]
    assert values(ACT, "StandardInput") == ["socket"]
    assert values(ACT, "StandardOutput") == ["journal"]
    assert values(ACT, "StandardError") == ["journal"]


def test_an_act_is_sandboxed() -> None:
    for key, value in (
        ("NoNewPrivileges", "yes"),
        ("PrivateMounts", "yes"),
        ("ProtectSystem", "strict"),
        ("MemoryDenyWriteExecute", "yes"),
        ("SystemCallFilter", "@system-service @mount"),
        ("DevicePolicy", "closed"),
    ):
        assert values(ACT, key) == [value]


def test_a_host_leaves_in_order_and_reboots_whatever_comes_of_it() -> None:
    started = values(LEAVE, "ExecStart")
    assert [each.split()[:2] for each in started] == [
        ["-/usr/bin/bedplate-pods", "drain"],
        ["-/usr/bin/bedplate-pods", "leave"],
        ["-/usr/bin/bedplate-overlay", "leave"],
        ["-/usr/bin/bedplate-lock", "release"],
    ]
    assert values(LEAVE, "SuccessAction") == values(LEAVE, "FailureAction") == ["reboot"]
    seconds = sum(int(each.split()[-1]) for each in started)
    (limit,) = values(LEAVE, "TimeoutStartSec")
    assert seconds + 45 < 60 * int(limit.removesuffix("min"))


def test_var_is_given_up_before_anybody_sees_it() -> None:
    (condition,) = values(WIPE, "ConditionPathExists")
    assert condition == f"/sys/firmware/efi/efivars/{efivars.FACTORY_RESET}"
    before = " ".join(values(WIPE, "Before")).split()
    assert {"systemd-udevd.service", "systemd-repart.service", "var.mount"} <= set(before)
    assert values(WIPE, "ExecStart") == ["/usr/bin/bedplate-update wipe"]


@pytest.mark.parametrize("module", ["requests", "cryptography", "yaml", "tuf"])
def test_asking_for_a_status_imports_nothing_slow(module: str) -> None:
    code = (
        "import sys; from hostapi.acts import daemon; daemon.find('update'); "
        f"print({module!r} in sys.modules)"
    )
    path = ":".join(str(DIST.parents[1] / part) for part in (".", "cloud-config"))
    argv = (sys.executable, "-c", f"import sys; sys.path[:0] = {path.split(':')!r}; {code}")
    assert programs.run(argv).strip() == "False"
