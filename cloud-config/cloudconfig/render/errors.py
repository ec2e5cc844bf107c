"""What a document asks that this machine cannot do."""

from updater.errors import InputError


class RenderError(InputError):
    """Only the facts about a machine could tell; the message names the key and what to do."""
