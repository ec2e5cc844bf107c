"""One step of a lease's life: what `holding` says is due, done by `manager`, told to `holding`."""

from random import Random

from hostkit.timing import Timing
from overlay import holding as life
from overlay.holding import Holding, Task
from overlay.lease import Terms
from overlay.manager import Configuration, Lost, Manager
from updater.errors import BedplateError


def tend(
    manager: Manager,
    timing: Timing,
    holding: Holding,
    task: Task,
    *,
    configuration: Configuration,
    terms: Terms,
    random: Random,
) -> Holding:
    """Join or renew as `task` says, and give what we hold after it; a failure is in its `problem`.

    To fence and to wait is the caller's: only it can stop traffic.

    Args:
        configuration: as read last; when it has changed, joining fails until it is read again.
        terms: what peers should know of this host; they are told if they know something else.
    """
    jitter = random.random()
    try:
        if task is Task.JOIN:
            acquired = manager.acquire(configuration, terms, holding.previous)
            return life.held(timing, acquired.lease, acquired.sent, acquired.seconds, jitter)
        if task is Task.RENEW and holding.lease:
            if not configuration.network.holds(holding.lease.subnets):
                return life.lost(
                    holding, f"the network's configuration has {holding.lease.subnets} no more"
                )
            renewed = manager.renew(holding.lease)
            holding = life.held(
                timing, renewed.lease, renewed.sent, renewed.seconds, jitter, renewed.problem
            )
            if renewed.lease.terms != terms:
                holding = life.changed(holding, manager.update(renewed.lease, terms))
    except Lost as error:
        return life.lost(holding, str(error))
    except BedplateError as error:
        return life.failed(timing, holding, str(error), manager.now(), jitter)
    return holding
