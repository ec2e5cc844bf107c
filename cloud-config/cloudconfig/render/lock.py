"""Where the reboot lock is: the settings of `bedplate-lock`."""

import json
from pathlib import PurePosixPath

from cloudconfig.desired import Desired, File
from cloudconfig.facts import Facts
from cloudconfig.model.lock import lock_etcd, takes_lock
from cloudconfig.model.top import CloudConfig

PATH = PurePosixPath("/etc/bedplate/lock.json")


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """The file, for root alone, as it may hold a password.

    A document whose strategy is another one by now has it too where it speaks of a lock or of a
    cluster: its host may still hold what it took for the reboot before. Who reads it does so
    whenever it asks etcd, so that nothing is restarted.
    """
    coreos, bedplate = config.coreos, config.bedplate
    etcd = lock_etcd(coreos, bedplate)
    if not etcd or not (coreos.locksmith or bedplate.cluster or takes_lock(coreos, bedplate)):
        return Desired()
    settings = etcd
    if coreos.locksmith and coreos.locksmith.group:
        settings = {**etcd, "group": coreos.locksmith.group}
    content = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    return Desired(items=(File(PATH, content, mode=0o600, secret=True),))
