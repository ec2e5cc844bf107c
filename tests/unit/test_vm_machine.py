import os
import struct
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from builder import run
from builder.vm.cli import newest_tool_tree, parse_credentials, parse_size
from builder.vm.config import MIB, Accelerator, MachineConfig
from builder.vm.disks import create_overlay, image_format
from builder.vm.machine import Machine, _descendants
from builder.vm.ssh import SshAccess, create_key
from builder.vm.uki import kernel_of
from builder.vm.wait import VmError, WaitError, wait_until
from updater.errors import InputError


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(MachineConfig(tmp_path, Accelerator.TCG, uuid=uuid4()), tmp_path / "tree")


def test_a_wait_returns_what_it_waited_for() -> None:
    answers = iter([None, None, "there"])
    assert wait_until(lambda: next(answers), 60, "it") == "there"


def test_a_wait_that_has_no_time_still_looks_once() -> None:
    assert wait_until(lambda: "there", 0, "it") == "there"
    with pytest.raises(WaitError, match="waited 0 s in vain for it"):
        wait_until(lambda: None, 0, "it")


def test_the_console_is_read_without_escape_sequences(machine: Machine) -> None:
    machine.config.console.write_bytes(
        b"\x1b[2J\x1b[=3h[\x1b[0;32m  OK  \x1b[0m] Reached \xe2\x97\x8f\r\x1b[m\r\n"
        b"\x1b]0;title\x07\x1b[?25lnext\r\n"
    )
    assert machine.console() == "[  OK  ] Reached ●\nnext\n"


def test_the_console_is_searched_behind_a_mark(machine: Machine) -> None:
    machine.config.console.write_bytes(b"boot 1\n")
    mark = machine.console_size()
    with machine.config.console.open("ab") as console:
        console.write(b"boot 2\n")
    assert machine.wait_for_console(r"^boot (\d)$", 10)[1] == "1"
    assert machine.wait_for_console(r"^boot (\d)$", 10, since=mark)[1] == "2"


def test_waiting_for_a_machine_that_is_off_ends_at_once(machine: Machine) -> None:
    with pytest.raises(VmError, match=r"QEMU ended before 'login' on the console"):
        machine.wait_for_console("login", 3600)
    with pytest.raises(VmError, match="is off"):
        machine.reset()


def test_what_was_written_before_the_end_is_still_found(machine: Machine) -> None:
    machine.config.console.write_bytes(b"reboot: Power down\n")
    assert machine.wait_for_console("Power down", 0)
    assert b"".join(machine.follow_console()) == b"reboot: Power down\n"


def test_a_power_cut_takes_every_process_below(machine: Machine, tmp_path: Path) -> None:
    shell = run.spawn(["sh", "-c", "sleep 3600 & wait; exit 0"], output=tmp_path / "log")
    (below,) = wait_until(lambda: list(_descendants(shell.pid)) or None, 60, "the sleep")
    machine._process = shell
    assert machine.running
    machine.kill()
    assert not machine.running
    assert shell.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(below, 0)
    machine.kill()  # once more harms nothing


def test_the_end_of_the_console_is_shown_on_failure(
    machine: Machine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "start", lambda: None)
    machine.config.console.write_bytes(b"".join(b"line %d\n" % n for n in range(99)))
    with pytest.raises(ZeroDivisionError), machine:
        _ = 1 / 0
    assert "line 98" in caplog.text
    assert "line 5\n" not in caplog.text


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.raw: no such image"):
        create_overlay(tmp_path, tmp_path / "none.raw", tmp_path / "disk.qcow2")


def test_formats_are_told_by_content(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"QFI\xfb\0\0\0\3")
    assert image_format(image) == "qcow2"
    image.write_bytes(b"\0" * 512)
    assert image_format(image) == "raw"


def test_a_key_pair_is_read_by_openssh_and_belongs_together(tmp_path: Path) -> None:
    key = create_key(tmp_path)
    assert key.private.stat().st_mode & 0o777 == 0o600
    private = load_ssh_private_key(key.private.read_bytes(), None)
    assert private.public_key() == load_ssh_public_key(key.public.encode())
    assert key.public.startswith("ssh-ed25519 ")


def test_the_ssh_configuration_follows_the_machine(tmp_path: Path) -> None:
    folder = tmp_path / "a 100%"
    folder.mkdir()
    with SshAccess(folder, create_key(folder)) as access:
        seen = []
        for port in (2201, 2202):
            access.connect(port)
            argv = ["ssh", "-G", "-F", str(access.config), "vm"]
            seen.append(dict(line.split(" ", 1) for line in run.run(argv).splitlines()))
        assert [one["port"] for one in seen] == ["2201", "2202"]
        assert seen[0]["controlpath"] != seen[1]["controlpath"]
        assert seen[1]["hostname"] == "127.0.0.1"
        # ssh prints what it will expand: a doubled per cent sign is one in the name.
        assert seen[1]["identityfile"] == f"{tmp_path}/a 100%%/id_ed25519"
        assert access.url.startswith("ssh://vm?ssh_config=/")


def uki(*sections: tuple[bytes, bytes]) -> bytes:
    """A PE file with nothing but sections, as far as `kernel_of` looks."""
    header = 0x40
    table = header + 24 + 16 + 40 * len(sections)
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", header)
    head += struct.pack("<4sHH12xHH", b"PE\0\0", 0x8664, len(sections), 16, 0) + bytes(16)
    body = b""
    for name, content in sections:
        stored = content.ljust(-(-len(content) // 512) * 512, b"\0")
        offset = table + len(body)
        head += struct.pack("<8sIIII16x", name, len(content), 0, len(stored), offset)
        body += stored
    return head + body


def test_the_kernel_is_found_in_a_uki_without_its_padding(tmp_path: Path) -> None:
    file = tmp_path / "bedplate.efi"
    file.write_bytes(uki((b".osrel", b"ID=bedplate"), (b".linux", b"kernel"), (b".initrd", b"i")))
    assert kernel_of(file) == b"kernel"


@pytest.mark.parametrize(
    "content", [b"", b"MZ", b"ELF", uki((b".text", b"x")), uki((b".linux", b"x"))[:70]]
)
def test_what_is_no_uki_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bedplate.efi"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"bedplate\.efi"):
        kernel_of(file)


def test_sizes_have_units() -> None:
    assert parse_size("768M") == 768 * MIB
    assert parse_size("8G") == 8192 * MIB


@pytest.mark.parametrize("text", ["", "8", "0G", "-1G", "8GB", "1.5G", "G", "٣G"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected a size"):
        parse_size(text)


def test_credentials_come_from_the_command_line_and_from_files(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"a: 1\n")
    assert parse_credentials(["x=a=b", f"y=@{file}"]) == {"x": "a=b", "y": b"a: 1\n"}
    for wrong in ("x", "=v", f"x=@{tmp_path}/none"):
        with pytest.raises(InputError, match="--credential"):
            parse_credentials([wrong])


def test_without_a_build_there_is_no_tool_tree(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bedplate build"):
        newest_tool_tree(tmp_path)
    for name, program in (("lab", "python3"), ("abc", "qemu-system-x86_64")):
        path = tmp_path / "tools" / name / "usr/bin" / program
        path.parent.mkdir(parents=True)
        path.touch()
    assert newest_tool_tree(tmp_path) == tmp_path / "tools" / "abc"
