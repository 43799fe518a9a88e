"""The rules that keep meta nodes from routing to hosts, as text; that they hold is seen in tests/e2e."""

from __future__ import annotations

from ipaddress import IPv4Address

from meta_cluster.lab import isolation, layout


def test_should_leave_meta_nodes_out_of_what_is_closed() -> None:
    first, last = (IPv4Address(each) for each in isolation.HOSTS.split("-"))

    assert layout.META_ADDRESS < first == layout.FIRST_HOST < last < layout.SUBNET.broadcast_address


def test_should_let_answers_and_ssh_pass_before_anything_is_refused() -> None:
    targets = [rule[rule.index("-j") + 1] for rule in isolation.RULES]

    assert targets == ["RETURN", "RETURN", "REJECT", "REJECT"]
    assert isolation.RULES[1][:4] == ("-p", "tcp", "--dport", "22")


def test_should_fill_the_chain_before_anything_is_sent_through_it() -> None:
    lines = isolation.script().splitlines()

    assert lines[0] == "set -e"
    assert all("-I" in line and "-C" in line for line in lines[-2:])
    assert len(lines) == 2 + len(isolation.RULES) + 2
