"""What is done when all is applied: a message, a call home, power. Each instance once."""

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cloudconfig import store
from cloudconfig.host import Prepared
from cloudconfig.places import Places
from updater.errors import BedplateError
from updater.programs import run

if TYPE_CHECKING:
    # The model is slow to import.
    from cloudconfig.model.machine import PhoneHome, PowerState

_LOG = logging.getLogger(__name__)
_PAUSE_SECONDS = 3.0
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")

Post = Callable[[str, bytes], None]


def is_wanted(prepared: Prepared, places: Places) -> bool:
    """Whether something is to be done that only comes once in an instance's life."""
    desired = prepared.desired
    new = prepared.given is not None and store.is_new_instance(prepared.given.instance_id, places)
    return bool(new and (desired.phone_home or desired.power))


def finish(prepared: Prepared, places: Places, hostname: str, *, post: Post | None = None) -> None:
    """Say the final message; on an instance's first boot call home and change the power state.

    Raises:
        BedplateError: nobody was at home; another boot tries again.
    """
    desired, given = prepared.desired, prepared.given
    if given is None:
        return
    if desired.message:
        _LOG.info("%s", message(desired.message, given.source, time.monotonic(), time.gmtime()))
    if not store.is_new_instance(given.instance_id, places):
        return
    if desired.phone_home:
        told = report_of(desired.phone_home, given.instance_id, hostname)
        _call(desired.phone_home, given.instance_id, told, post)
    store.finish_instance(given.instance_id, places)
    if desired.power and desired.power.condition:
        _LOG.info("%s: %s", desired.power.mode.value, desired.power.message)
        run(power_command(desired.power))


def message(text: str, source: str, uptime: float, now: time.struct_time) -> str:
    """The final message with cloud-init's names put in; `now` is UTC."""
    known = {
        "datasource": source,
        "uptime": f"{uptime:.1f}",
        "timestamp": time.strftime("%a, %d %b %Y %H:%M:%S +0000", now),
        "version": "bedplate",
    }
    known |= {name.upper(): value for name, value in known.items()}
    return _VARIABLE.sub(lambda found: known.get(found[1] or found[2], found[0]), text).strip()


def report_of(phone_home: "PhoneHome", instance_id: str, hostname: str) -> Mapping[str, str]:
    """What is told at home."""
    known = {
        "instance_id": instance_id,
        "hostname": hostname.partition(".")[0],
        "fqdn": hostname,
    }
    wanted = known if phone_home.post == "all" else phone_home.post
    return {name: known.get(name, "N/A") for name in wanted}


def power_command(power: "PowerState") -> tuple[str, ...]:
    """The systemctl(1) command line of a power state."""
    # A halted machine would only wait for somebody to come.
    verb = power.mode.value.replace("halt", "poweroff")
    argv: tuple[str, ...] = ("systemctl", "--no-block", verb)
    if power.delay == "now":
        return argv
    minutes = power.delay.lstrip("+")
    return ("systemctl", f"--when=+{minutes}min", verb)


def _call(
    phone_home: "PhoneHome", instance_id: str, told: Mapping[str, str], post: Post | None
) -> None:
    from urllib.parse import urlencode  # noqa: PLC0415 - seldom used

    if post is None:
        from cloudconfig.transfer import post as post_form  # noqa: PLC0415 - seldom used

        post = post_form
    url = phone_home.url.replace("$INSTANCE_ID", instance_id)
    for attempt in range(1, phone_home.tries + 1):
        try:
            post(url, urlencode(told).encode())
        except BedplateError as error:
            if attempt == phone_home.tries:
                raise
            _LOG.warning("phone_home: %s; trying again", error)
            time.sleep(_PAUSE_SECONDS)
        else:
            return
