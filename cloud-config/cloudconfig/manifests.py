"""A Pod's manifest, looked at before it is handed to the agent that runs pods."""

from pathlib import Path

from hostkit.document.source import DocumentError


def manifest_problems(text: str) -> tuple[str, ...]:
    """What is wrong with a manifest, one for each fault: `manifest:line:column: path: what`.

    Lines and columns count from its own first line.
    """
    # It is much to import at every boot, for documents of which few have a pod.
    from podagent.manifest.reading import parse  # noqa: PLC0415

    try:
        parse(text.encode(errors="replace"), Path("manifest"), of_host=True)
    except DocumentError as error:
        return tuple(map(str, error.problems))
    return ()
