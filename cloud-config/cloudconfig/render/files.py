"""`write_files`."""

from dataclasses import replace

from cloudconfig.desired import Desired, Fetched, File
from cloudconfig.facts import Facts
from cloudconfig.model.files import WriteFile, decoded
from cloudconfig.model.top import CloudConfig
from cloudconfig.render import etcd


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """The files, those that are deferred last."""
    ordered = sorted(config.write_files, key=lambda file: file.defer)
    read_by_etcd = etcd.files_of(config.bedplate.etcd).values()
    return Desired(
        items=tuple(
            replace(_item(file), affects=etcd.AFFECTS if str(file.path) in read_by_etcd else ())
            for file in ordered
        )
    )


def _item(file: WriteFile) -> File | Fetched:
    owner, _, group = file.owner.partition(":")
    group = group or owner
    if file.source:
        return Fetched(
            file.path,
            file.source.uri,
            file.source.sha256,
            tuple(file.source.headers.items()),
            mode=file.permissions,
            owner=owner,
            group=group,
        )
    return File(
        file.path,
        decoded(file),
        mode=file.permissions,
        owner=owner,
        group=group,
        # What others may not read, a plan does not show.
        secret=not file.permissions & 0o004,
        append=file.append,
    )
