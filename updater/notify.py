"""The service manager's notification protocol: READY, STATUS, WATCHDOG (sd_notify(3))."""

import os
import socket
from collections.abc import Mapping


def send(*assignments: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send assignments such as `READY=1` to the service manager.

    A notification is advice: one that cannot be delivered is dropped, the work goes on.

    Returns:
        Whether there was a socket and it took the message.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    # An abstract socket is announced with @ and addressed with a leading NUL (unix(7)).
    target = "\0" + address[1:] if address.startswith("@") else address
    message = "\n".join(assignments).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as stream:
        try:
            stream.sendto(message, target)
        except OSError:
            return False
    return True


def status(text: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Show one line in `systemctl status`, and tell the watchdog that work goes on."""
    return send(f"STATUS={' '.join(text.split())}", "WATCHDOG=1", environment=environment)
