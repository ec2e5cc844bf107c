import pytest

from updater.host import HostError, root_hash_of

HASH = "0123456789abcdef" * 4


def test_the_root_hash_comes_from_the_command_line() -> None:
    assert root_hash_of(f"quiet roothash={HASH} rw\n") == HASH
    for text in ("quiet", "roothash=ab", f"roothash={HASH.upper()}", f"xroothash={HASH}"):
        with pytest.raises(HostError, match="roothash="):
            root_hash_of(text)
