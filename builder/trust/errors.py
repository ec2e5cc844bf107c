"""What can go wrong between a build and a published release."""

from updater.errors import BedplateError, InputError


class TrustError(BedplateError):
    """The repository or its metadata is not as it must be, or could not be written."""


class KeyStoreError(BedplateError):
    """A key is missing, unreadable or does not fit its public part."""


class UnreachableKeyError(KeyStoreError):
    """A key's token is not plugged in, its service not reached, or its library not installed."""


class PassphraseError(BedplateError):
    """There is no passphrase, or it is the wrong one."""


class ReleaseInputError(InputError):
    """What was asked for does not fit the repository: a name, a version, a wave."""
