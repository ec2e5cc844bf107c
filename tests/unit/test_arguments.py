"""Arguments that more than one command has."""

import pytest

from builder import cli

LISTENING = (
    ("serve", "repository", "--port"),
    ("pki", "serve", "--port"),
    ("run", "disk.raw", "--ssh-port"),
)


@pytest.mark.parametrize("words", LISTENING, ids=" ".join)
@pytest.mark.parametrize("port", ["65536", "70000", "-1", "1.5", "", "http", "9" * 5000, "\u0661"])
def test_what_is_no_port_is_usage(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], port: str
) -> None:
    assert usage(capsys, *words, port).endswith(f"{port[:20]!r}: expected 0 to 65535")


@pytest.mark.parametrize("words", LISTENING, ids=" ".join)
@pytest.mark.parametrize("port", ["0", "1", "65535"])
def test_a_port(words: tuple[str, ...], port: str) -> None:
    args = cli.parser(words[0]).parse_args([*words, port])
    assert vars(args)[words[-1].strip("-").replace("-", "_")] == int(port)


@pytest.mark.parametrize(
    "words", [("serve", "repository", "--bind"), ("pki", "serve", "--address")]
)
@pytest.mark.parametrize("address", ["a..b", "." * 2, "x" * 64])
def test_what_nobody_can_look_up_is_usage(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], address: str
) -> None:
    said = usage(capsys, *words, address)
    assert said.endswith(f"{address!r}: expected an IP address or a host's name")
    for right in ("::1", "0.0.0.0", "localhost", "web-1.example.org."):  # noqa: S104 - not bound
        assert cli.parser(words[0]).parse_args([*words, right])


def usage(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The last line of what the program says to words that it does not take."""
    # With the equals sign, a value may begin with a dash.
    with pytest.raises(SystemExit, match="2"):
        cli.main([*words[:-2], f"{words[-2]}={words[-1]}"])
    return capsys.readouterr().err.splitlines()[-1]
