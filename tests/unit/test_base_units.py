"""What needs a kernel module waits for who loads it: on a slow machine the order is another."""

from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2] / "images/base/root/usr/lib"
_LOADED = (_ROOT / "modules-load.d/bedplate.conf").read_text().splitlines()


@pytest.mark.parametrize(
    ("unit", "module"),
    [("systemd-repart.service", "loop"), ("systemd-pstore.service", "efi_pstore")],
)
def test_a_module_is_there_first(unit: str, module: str) -> None:
    assert module in _LOADED
    added = (_ROOT / f"systemd/system/{unit}.d/10-bedplate.conf").read_text()
    assert "\nAfter=systemd-modules-load.service\n" in added
