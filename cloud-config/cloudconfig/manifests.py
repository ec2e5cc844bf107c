"""A Pod's manifest, looked at before it is handed to the agent that runs pods."""

from pathlib import Path

from hostkit.document.source import DocumentError


def pod_problem(text: str) -> str | None:
    """What is wrong with a manifest, a line for each fault: `manifest:line:column: path: what`.

    Lines and columns count from its own first line.
    """
    # It is much to import at every boot, for documents of which few have a pod.
    from podagent.manifest.reading import parse  # noqa: PLC0415

    try:
        parse(text.encode(errors="replace"), Path("manifest"), of_host=True)
    except DocumentError as error:
        return str(error)
    return None
