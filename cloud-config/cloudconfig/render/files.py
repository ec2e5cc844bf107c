"""`write_files`."""

import base64
import binascii
import zlib
from dataclasses import replace

from cloudconfig.desired import Desired, Fetched, File
from cloudconfig.facts import Facts
from cloudconfig.model.files import Encoding, WriteFile
from cloudconfig.model.top import CloudConfig
from cloudconfig.render import etcd
from cloudconfig.render.errors import RenderError

_UNPACKED_LIMIT = 16 << 20  # bytes of one file
_BASE64 = {
    *(Encoding.BASE64, Encoding.B64),
    *(Encoding.GZIP_BASE64, Encoding.GZ_BASE64, Encoding.GZIP_B64, Encoding.GZ_B64),
}
_GZIP = {
    *(Encoding.GZIP, Encoding.GZ),
    *(Encoding.GZIP_BASE64, Encoding.GZ_BASE64, Encoding.GZIP_B64, Encoding.GZ_B64),
}


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """The files, those that are deferred last.

    Raises:
        RenderError: a content is not what its encoding says.
    """
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


def decoded(file: WriteFile) -> bytes:
    """The bytes of a file's content.

    Raises:
        RenderError: the content is not what its encoding says, or unpacks to more than 16 MiB.
    """
    data = file.content.encode()
    what = f"write_files: {file.path}: the content is not {file.encoding.value}"
    if file.encoding in _BASE64:
        try:
            data = base64.b64decode(b"".join(data.split()), validate=True)
        except binascii.Error as error:
            raise RenderError(f"{what}: {error}") from None
    if file.encoding in _GZIP:
        stream = zlib.decompressobj(wbits=31)
        try:
            data = stream.decompress(data, _UNPACKED_LIMIT + 1)
        except zlib.error as error:
            raise RenderError(f"{what}: {error}") from None
        if len(data) > _UNPACKED_LIMIT:
            raise RenderError(f"write_files: {file.path}: more than 16 MiB once unpacked")
        if not stream.eof:
            raise RenderError(f"{what}: it is cut short")
    return data
