"""Which pod a container is of: by podman's name of it, for the pods that this host has now."""

from collections.abc import Mapping

from hostapi.entries import Container
from podagent.places import Places
from podagent.reading import StatusError, status


def known(places: Places | None = None) -> Mapping[str, Container]:
    """The containers of this host's pods, by podman's names (podagent.naming); none without pods.

    What the pod agent plays has its pod as the log's tag. This is for what was played before that,
    and for a pod that has not logged yet.
    """
    try:
        document = status(places or Places())
        return {
            f"{pod['id']}-{container['name']}": Container(pod["id"], container["name"])
            for pod in document["pods"]
            for container in pod["containers"]
        }
    except (KeyError, OSError, StatusError, TypeError):
        # Logs are wanted most when something is broken.
        return {}
