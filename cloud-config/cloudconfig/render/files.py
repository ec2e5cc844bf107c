"""`write_files`."""

from dataclasses import replace

from cloudconfig.desired import Desired, Fetched, File
from cloudconfig.facts import Facts
from cloudconfig.model.files import WriteFile, decoded
from cloudconfig.model.top import CloudConfig


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """The files, those that are deferred last."""
    ordered = sorted(config.write_files, key=lambda file: file.defer)
    items = tuple(_item(file) for file in ordered)
    if config.bedplate.etcd:
        from cloudconfig.render import etcd  # noqa: PLC0415 - seldom there, and slow to import

        read = etcd.files_of(config.bedplate.etcd).values()
        items = tuple(
            replace(item, affects=etcd.AFFECTS) if str(item.path) in read else item
            for item in items
        )
    return Desired(items=items)


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
