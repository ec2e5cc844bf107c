"""What others wrote, made fit to be shown."""


def clean(text: str) -> str:
    """A text in one line with nothing in it that a terminal would obey, and no broken UTF-8."""
    lines = "; ".join(text.splitlines())
    return "".join(char if char.isprintable() else "?" for char in lines)
