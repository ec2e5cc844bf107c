"""Draining: what is due when, and the file that asks for it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent import drain
from podagent.drain import Request, Stage
from podagent.places import Places

REQUEST = Request(asked=1000, until=1300)
ORDER = list(Stage)

times = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("replicas", "pods", "now", "stage"),
    [
        (True, True, 1000, Stage.LEAVING),
        (True, True, 1149, Stage.LEAVING),
        (True, True, 1150, Stage.FORCED),
        (True, False, 1224, Stage.FORCED),  # slots that are not given back yet
        (True, True, 1225, Stage.STOPPING),
        (False, True, 1000, Stage.STOPPING),
        (False, True, 9999, Stage.STOPPING),
        (False, False, 1000, Stage.DONE),
        (False, False, 9999, Stage.DONE),
    ],
)
def test_what_is_due(replicas: bool, pods: bool, now: float, stage: Stage) -> None:  # noqa: FBT001
    assert drain.stage(REQUEST, replicas=replicas, pods=pods, now=now) is stage


def test_nothing_is_due_that_nobody_asked_for() -> None:
    assert drain.stage(None, replicas=True, pods=True, now=1000) is None


@given(asked=times, time=st.floats(0, 1e5), moments=st.lists(times), gone=times, empty=times)
def test_it_only_goes_on(
    asked: float, time: float, moments: list[float], gone: float, empty: float
) -> None:
    """Whatever leaves when: no stage comes back, and none but DONE without a pod."""
    request = Request(asked, asked + time)
    empty = max(empty, gone)
    seen = [
        drain.stage(request, replicas=now < gone, pods=now < empty, now=now)
        for now in sorted(moments)
    ]
    ranks = [ORDER.index(each) for each in seen if each is not None]
    assert len(ranks) == len(moments)
    assert ranks == sorted(ranks)
    done = [each is Stage.DONE for each in seen]
    assert done == [now >= empty for now in sorted(moments)]


@given(request_=st.builds(Request, times, times))
def test_what_is_asked_is_found(
    tmp_path_factory: pytest.TempPathFactory, request_: Request
) -> None:
    places = Places(tmp_path_factory.mktemp("root"))
    assert drain.requested(places) is None
    drain.ask(places, request_)
    assert drain.requested(places) == request_
    drain.cancel(places)
    assert drain.requested(places) is None
    drain.cancel(places)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"asked": 1}', '{"asked": 1, "until": NaN}', '{"asked": {}}', "\xff"]
)
def test_a_file_of_somebody_else_asks_for_nothing(tmp_path: Path, text: str) -> None:
    places = Places(tmp_path)
    drain.ask(places, REQUEST)
    (path,) = (tmp_path / "run/bedplate/pods").iterdir()
    assert json.loads(path.read_bytes()) == {"asked": 1000, "until": 1300}
    path.write_text(text, encoding="latin-1")
    assert drain.requested(places) is None
