"""`ca_certs`: whom the host believes."""

from cloudconfig.certificates import certificates, in_pem
from cloudconfig.desired import BUNDLE, Affects, Desired, File
from cloudconfig.facts import Facts
from cloudconfig.model.top import CloudConfig


def render(config: CloudConfig, facts: Facts) -> Desired:
    """The bundle: the image's, or nothing, and the certificates given (update-ca-certificates(8)).

    They are written anew from what was understood of them, so that nothing else comes along.
    """
    wanted = config.ca_certs
    if wanted is None or not wanted.trusted:
        return Desired()
    image = b"" if wanted.remove_defaults else facts.ca_bundle
    if image and not image.endswith(b"\n"):
        image += b"\n"
    given = dict.fromkeys(der for text in wanted.trusted for der in certificates(text))
    content = image + "".join(map(in_pem, given)).encode()
    # It may hold connections to a server that is trusted no more.
    return Desired(items=(File(BUNDLE, content, affects=(Affects("bedplate-updated.service"),)),))
