"""What can be done with a unit. Apart from the model, which is slow to import at every boot."""

from enum import Enum


class UnitCommand(Enum):
    """What is done with a unit once it is written (systemctl(1), "Unit Commands")."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    RELOAD = "reload"
    TRY_RESTART = "try-restart"
    RELOAD_OR_RESTART = "reload-or-restart"
    RELOAD_OR_TRY_RESTART = "reload-or-try-restart"
