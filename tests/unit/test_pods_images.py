"""Names of images, and which of them go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent.actions import RemoveImage
from podagent.images import Limits, Names, full_name, removals, wanted_ids
from podagent.memory import Memory, applied
from podagent.observed import Disk, ImageState, Observed
from pods_kit import container, instance

_LIMITS = Limits(longest_unused=1000, shortest_unused=10)
_ROOMY, _FULL = Disk(1000, 500), Disk(1000, 50)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1", "docker.io/library/nginx:1"),
        ("team/app", "docker.io/team/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:2", "localhost:5000/app:2"),
        ("registry.example:5000/a/b/c", "registry.example:5000/a/b/c:latest"),
        ("registry.example/app@sha256:1", "registry.example/app@sha256:1"),
        ("registry.example/app:2@sha256:1", "registry.example/app@sha256:1"),
    ],
)
def test_full_names(name: str, full: str) -> None:
    assert full_name(name) == full
    assert full_name(full) == full
    assert Names.of([ImageState("1", ("x:1", full), 1)]).find(name) == "1"


def test_an_image_of_another_name_is_not_meant() -> None:
    names = Names.of([ImageState("1", ("docker.io/library/nginx:1",), 1)])
    assert names.find("nginx:2") is None
    assert names.find("registry.example/nginx:1") is None


def test_what_init_containers_name_is_wanted_too() -> None:
    images = [ImageState(each, (f"r.example/{each}:1",), 1) for each in "abc"]
    pods = [instance("web", container(image="r.example/a:1"), init=(
        container("one", image="r.example/b:1"),
    ))]  # fmt: skip
    assert wanted_ids(pods, Names.of(images)) == {"a", "b"}


def _observed(disk: Disk, *used: str) -> Observed:
    images = tuple(ImageState(each, (), 60) for each in "abcd")
    return Observed(images=images, images_in_use=frozenset(used), disk=disk)


def test_old_ones_go() -> None:
    unused = {"a": 0.0, "b": 500.0, "c": 0.0, "d": 0.0}
    actions, later = removals(_observed(_ROOMY, "c"), {"d"}, unused, 1000, _LIMITS)
    assert [each.image for each in actions] == ["a"]
    assert later == 1500


def test_a_full_disk_takes_the_longest_unused_until_there_is_room() -> None:
    unused = {"a": 700.0, "b": 600.0, "c": 995.0, "d": 500.0}
    # 150 bytes are missing to 20 %, and an image has 60.
    actions, later = removals(_observed(_FULL), (), unused, 1000, _LIMITS)
    assert [each.image for each in actions] == ["d", "b", "a"]
    assert later == 1995
    actions, later = removals(_observed(_FULL, "b"), {"d"}, unused, 1000, _LIMITS)
    assert [each.image for each in actions] == ["a"]
    assert later == 1005


def test_one_that_nobody_has_looked_at_yet_stays() -> None:
    assert removals(_observed(_FULL), (), {}, 1e9, _LIMITS) == ([], None)


def test_one_that_podman_will_not_remove_is_left_for_long() -> None:
    memory = applied(Memory(unused={"a": 0}), RemoveImage("a", "old"), 1000, "it has a child")
    assert removals(_observed(_ROOMY), (), memory.unused, 1500, _LIMITS) == ([], 2000)


@given(
    st.sets(st.sampled_from("abcd")),
    st.sets(st.sampled_from("abcd")),
    st.dictionaries(st.sampled_from("abcd"), st.floats(0, 3000)),
    st.integers(0, 1000),
)
def test_none_in_use_or_wanted_ever_goes(
    used: set[str], wanted: set[str], unused: dict[str, float], free: int
) -> None:
    observed = _observed(Disk(1000, free), *used)
    actions, _ = removals(observed, wanted, unused, 3000, _LIMITS)
    assert {each.image for each in actions} <= unused.keys() - used - wanted
