"""The bench of rollouts stands on the operators' own code: what it needs of a meta cluster must be what they ask for."""

from tests.bench import rollouts


def test_should_pass_over_a_small_fleet_as_it_does_over_a_large_one() -> None:
    row = rollouts._pass(5)
    assert row.name.endswith("5")
    assert len(row.ours) == 5


def test_should_parse_both_forms_of_selectors() -> None:
    assert rollouts._parsed("kok.dev/part in (bad,not-bad),kok.dev/rollout=a") == {
        "kok.dev/part": {"bad", "not-bad"},
        "kok.dev/rollout": {"a"},
    }
