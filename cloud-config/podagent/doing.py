"""Actions under way: one pod's in their order, those of different pods at the same time."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from hostkit.following import Post
from hostkit.pool import Pool
from podagent.actions import Action, Kill, Pull, RemoveImage
from updater.errors import BedplateError

_AT_ONCE = 4  # podman's processes; each takes some 50 MB for a moment
_PULLS = 2
_KILLS = 4

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
        self._under_way: dict[str, set[str]] = {"pod": set(), "pull": set(), "image": set()}
        self._pool = Pool("podman", _AT_ONCE, post)
        self._puller = Pool("pull", _PULLS, post)
        # What must end now waits for nothing, least of all for what stops the same pod in peace.
        self._killer = Pool("kill", _KILLS, post)

    @property
    def busy(self) -> frozenset[str]:
        """The pods that something works on."""
        return frozenset(self._under_way["pod"])

    @property
    def pulling(self) -> frozenset[str]:
        """The images that are on their way, as manifests name them."""
        return frozenset(self._under_way["pull"])

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

    def _start(self, pool: Pool, kind: str, what: str, chain: Sequence[Action]) -> None:
        under_way = self._under_way.setdefault(kind, set())
        if what not in under_way:
            under_way.add(what)
            pool.do(partial(self._run, kind, what, chain))

    def _run(self, kind: str, what: str, chain: Sequence[Action]) -> None:
        """On a thread of a pool."""
        for action in chain:
            error = self._try(action)
            self._post(partial(self._told, action, error))
            if error:
                break
        self._post(partial(self._end, kind, what))

    def _try(self, action: Action) -> str:
        try:
            self._apply(action)
        except (BedplateError, OSError) as error:
            return str(error) or type(error).__name__
        return ""

    def _end(self, kind: str, what: str) -> None:
        self._under_way[kind].discard(what)
        self._settled()
