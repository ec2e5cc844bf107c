"""`renew`: a new certificate for the API, at once."""

from collections.abc import Mapping

from hostapi.acts.types import Act, Request, Tell
from hostapi.certificate import Keeper, Places, lock, moment, systemctl
from updater.store import locked
from updater.strict import render_time

# Its run puts the certificate into force a second later, when this answer is on its way: the API is
# restarted for it.
_TIMER = "bedplate-api-certificate.timer"


def renew(_request: Request, _tell: Tell) -> Mapping[str, object]:
    """Fetch it, and have it put into force."""
    places = Places()
    with locked(lock(places), wait=False, what="another renewal"):
        found = Keeper(places, moment(places.root), systemctl).renew()
    systemctl(("--no-block", "restart", _TIMER))
    return {
        "done": f"the API shows {found.fingerprint} in a few seconds, until"
        f" {render_time(found.ends)}"
    }


ACTS: Mapping[str, Act] = {"renew": renew}
