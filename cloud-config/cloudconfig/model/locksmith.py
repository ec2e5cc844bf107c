"""`coreos.locksmith`: the reboot lock, and when a host may reboot."""

from dataclasses import dataclass

from cloudconfig.kinds import FILE, LINE, ORIGINS, SECRET_LINE, between
from hostkit.document.kinds import Text
from hostkit.document.schema import Section, key

_OF_ETCD = ("etcd_cafile", "etcd_certfile", "etcd_keyfile", "etcd_username", "etcd_password")
_TOGETHER = (
    ("window_start", "window_length"),
    ("etcd_certfile", "etcd_keyfile"),
    ("etcd_username", "etcd_password"),
)


@dataclass(frozen=True, slots=True)
class Locksmith:
    """The reboot lock: only so many hosts of a group are down for an update at once."""

    endpoint: str | None = key(
        ORIGINS,
        "URLs of etcd, with commas. Without them this key and the next five are as in"
        " `bedplate.cluster`, else as in `coreos.flannel`, else it is a `bedplate.etcd` of the"
        " host's own.",
        default=None,
    )
    etcd_cafile: str | None = key(FILE, "The CA of etcd.", default=None)
    etcd_certfile: str | None = key(FILE, "Our certificate.", default=None)
    etcd_keyfile: str | None = key(FILE, "Its key.", default=None)
    etcd_username: str | None = key(LINE, "Who we are.", default=None)
    etcd_password: str | None = key(SECRET_LINE, "And our word for it.", default=None)
    group: str | None = key(
        Text("a group's name", r"(?!\.{1,2}$)[^\x00-\x1f\x7f]+", limit=128),
        "The group of hosts that share the lock; else that of all who name none.",
        default=None,
    )
    window_start: str | None = key(
        Text(
            "`HH:MM` or `Day HH:MM`",
            r"((Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]* )?([01]?[0-9]|2[0-3]):[0-5][0-9]",
        ),
        "From when a host may reboot, UTC.",
        default=None,
    )
    window_length: float | None = key(between(60, 86400), "And for how long.", default=None)


def _locksmith_problem(locksmith: Locksmith) -> str | None:
    for one, other in _TOGETHER:
        if (getattr(locksmith, one) is None) != (getattr(locksmith, other) is None):
            return f"{_dashed(one)} and {_dashed(other)} belong together"
    alone = next((name for name in _OF_ETCD if getattr(locksmith, name) is not None), None)
    if alone and locksmith.endpoint is None:
        return f"{alone} without endpoint; without that all of etcd's are the cluster's"
    return None


def _dashed(name: str) -> str:
    return name.replace("window_", "window-")


LOCKSMITH = Section(Locksmith, _locksmith_problem)
