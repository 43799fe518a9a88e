"""kubectl's ways to name objects, and what somebody may have meant."""

from __future__ import annotations

import pytest

from meta_cluster.cli.kinds import NAMED
from meta_cluster.cli.near import near_hint
from meta_cluster.cli.targets import one_target, targets_of
from operators.errors import KokError


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("clusters",), [(("Cluster",), ())]),
        (("cluster", "a", "b"), [(("Cluster",), ("a", "b"))]),
        (("clusters,pools",), [(("Cluster", "MachinePool"), ())]),
        (("kc,pools,clusters", "demo"), [(("Cluster", "MachinePool"), ("demo",))]),
        (("cluster/demo",), [(("Cluster",), ("demo",))]),
        (("cluster/a", "pool/w", "clusters.kok.dev/b"), [(("Cluster",), ("a", "b")), (("MachinePool",), ("w",))]),
        (("hosts",), [(("Machine",), ())]),
    ],
)
def test_should_take_the_forms_of_kubectl(words: tuple[str, ...], found: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
    assert [(tuple(kind.name for kind in each.kinds), each.names) for each in targets_of(words[0], words[1:])] == found


def test_should_take_kok_for_every_kind() -> None:
    (target,) = targets_of("kok", ())
    assert target.kinds == NAMED


@pytest.mark.parametrize("words", [("cluster/demo", "pool"), ("cluster", "pool/w"), ("/demo",), ("cluster/",), ("cluster/a/b",)])
def test_should_refuse_a_mixture(words: tuple[str, ...]) -> None:
    with pytest.raises(KokError, match="cannot be mixed"):
        targets_of(words[0], words[1:])


def test_should_want_one_object_where_one_is_explained() -> None:
    assert one_target("cluster/demo", "") == one_target("cluster", "demo") == ("cluster", "demo")
    for word, name in (("cluster", ""), ("cluster,pool", "demo"), ("cluster/a", "pool/b")):
        with pytest.raises(KokError, match="one kind and one name"):
            one_target(word, name)


def test_should_say_what_is_near_and_nothing_far_fetched() -> None:
    assert near_hint("dmeo", ["demo", "shop"], "kok get") == "did you mean demo?"
    assert near_hint("billing", ["demo", "shop"], "kok get") == "kok get"
