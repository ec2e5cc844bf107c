"""Actions under way: one pod's in their order, those of different pods at the same time."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal

from hostkit.following import Post
from hostkit.pool import Pool
from podagent.actions import Action, Kill, Play, Pull, RemoveImage
from podagent.types import Instance
from updater.errors import BedplateError

_AT_ONCE = 4  # podman's processes; each takes some 50 MB for a moment
_PULLS = 2
_KILLS = 4

Kind = Literal["pod", "kill", "pull", "image"]
Key = tuple[Kind, str]
# A pull is not looked for: what came of it is remembered. A kill is tried until the pod is gone.
_LOOKED_FOR = ("pod", "image")

Told = Callable[[Action, str], None]


class Doing:
    """Applies what a plan asks for; what comes of it is posted.

    `told` gets every action that was tried, with why it failed, or nothing. After a failure the
    rest of that pod's actions is left out: the next plan knows better. `settled` is called when
    something is over and podman's state is to be read anew.
    """

    def __init__(
        self,
        apply: Callable[[Action], None],
        post: Post,
        told: Told,
        settled: Callable[[], None],
    ) -> None:
        self._apply = apply
        self._post = post
        self._told = told
        self._settled = settled
        self._under_way: set[Key] = set()
        self._over: set[Key] = set()  # since the last look began
        self._seen: set[Key] = set()  # over before that: the look finds what came of them
        self._plays: dict[str, Instance] = {}
        self._pool = Pool("podman", _AT_ONCE, post)
        self._puller = Pool("pull", _PULLS, post)
        # What must end now waits for nothing, least of all for what stops the same pod in peace.
        self._killer = Pool("kill", _KILLS, post)

    @property
    def busy(self) -> frozenset[str]:
        """The pods that something works on."""
        return self._of("pod", self._under_way | self._over | self._seen)

    @property
    def pulling(self) -> frozenset[str]:
        """The images that are on their way, as manifests name them."""
        return self._of("pull", self._under_way)

    @property
    def playing(self) -> tuple[Instance, ...]:
        """What podman may have soon without having been seen to."""
        return tuple(self._plays.values())

    def looks(self) -> None:
        """A look at podman's state begins."""
        self._seen |= self._over
        self._over.clear()

    def looked(self) -> None:
        """The last look that began has seen podman's state."""
        self._seen.clear()
        busy = self.busy
        self._plays = {pod: each for pod, each in self._plays.items() if pod in busy}

    def begin(self, actions: Iterable[Action]) -> None:
        """Start on a plan's actions; it does not wait for them."""
        chains: dict[str, list[Action]] = {}
        for action in actions:
            match action:
                case Pull():
                    self._start(self._puller, "pull", action.image, [action])
                case RemoveImage():
                    self._start(self._pool, "image", action.image, [action])
                case Kill():
                    self._start(self._killer, "kill", action.pod, [action])
                case _:
                    chains.setdefault(action.pod, []).append(action)
        for pod, chain in chains.items():
            self._start(self._pool, "pod", pod, chain)

    def _start(self, pool: Pool, kind: Kind, what: str, chain: Sequence[Action]) -> None:
        key = (kind, what)
        unseen = kind in _LOOKED_FOR and key in self._over | self._seen
        if unseen or key in self._under_way:
            return
        self._under_way.add(key)
        self._plays.update((what, each.instance) for each in chain if isinstance(each, Play))
        pool.do(partial(self._run, key, chain))

    def _run(self, key: Key, chain: Sequence[Action]) -> None:
        """On a thread of a pool."""
        for action in chain:
            error = self._try(action)
            self._post(partial(self._told, action, error))
            if error:
                break
        self._post(partial(self._end, key))

    def _try(self, action: Action) -> str:
        try:
            self._apply(action)
        except (BedplateError, OSError) as error:
            return str(error) or type(error).__name__
        return ""

    def _end(self, key: Key) -> None:
        self._under_way.discard(key)
        self._over.add(key)
        self._settled()

    @staticmethod
    def _of(kind: Kind, keys: Iterable[Key]) -> frozenset[str]:
        return frozenset(what for each, what in keys if each == kind)
