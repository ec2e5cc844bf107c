"""Waiting for a host that reboots: until it is there again, in another boot, and healthy."""

from builder.host.asking import ask
from builder.host.client import Client
from builder.host.errors import HostError, RefusedError, UnreachableError
from builder.host.values import Values
from builder.host.work import Clock
from builder.report import Step

LOOK_SECONDS = 2.0


def boot_of(client: Client) -> str:
    """The id of the boot that the host is in.

    Raises:
        HostError: it does not answer.
    """
    found = Values(client.json(ask("status"))).within("host").text("boot_id")
    if not found:
        raise HostError(
            f"{client.target.name}: its status names no boot, so none can be waited for"
        )
    return found


def wait(client: Client, before: str, seconds: float, step: Step, clock: Clock) -> str:
    """Wait until the host is in another boot than `before` and healthy; says what it runs.

    Raises:
        HostError: it came back and is not healthy, or it did not come back within `seconds`.
    """
    name, until = client.target.name, clock.now() + seconds
    last = "it has not answered yet"
    while clock.now() < until:
        try:
            found = Values(client.json(ask("status")))
        except UnreachableError as error:
            last = str(error).removeprefix(f"{name}: ")
        except RefusedError as error:
            if not error.passes:
                raise
            last = str(error).removeprefix(f"{name}: ")
        else:
            host, health = found.within("host"), found.within("health")
            state, detail = health.text("state"), health.text("detail")
            told = f"{host.text('version')} (slot {host.text('slot')})"
            if host.text("boot_id") == before:
                last = "it has not gone down yet"
            elif state == "good":
                return f"{told} is up and healthy"
            elif state == "failed":
                raise HostError(
                    f"{name}: it is back with {told}, and not healthy: {detail}; an update that is "
                    f"on trial takes itself back: `bedplate host {name} update`"
                )
            else:
                last = f"{told} is up, and its health is {state or 'unknown'} {detail}".rstrip()
        step.output(last)
        clock.sleep(LOOK_SECONDS)
    raise HostError(f"{name}: not back and healthy within {seconds:.0f} s: {last}")
