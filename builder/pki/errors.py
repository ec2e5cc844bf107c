"""What can go wrong with certificates."""

from updater.errors import BedplateError, InputError


class PkiError(BedplateError):
    """The folder of certificates is not as it must be, or could not be written."""


class PkiInputError(InputError):
    """What was asked for does not fit: a name, an address, a certificate that is not there."""
