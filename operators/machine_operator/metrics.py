"""What the Machine-Operator tells Prometheus beyond what every operator does. Decides nothing; called by assembly."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from operators.machine_operator.world import World


def expose(registry: CollectorRegistry, world: World) -> None:
    """Read at every scrape: looks at hosts, Ansible runs (both since the start), and machines by what their last pass found."""
    probes, jobs, board = world.hands.probes, world.hands.jobs, world.board
    Gauge("kok_host_probes", "Looks at hosts over SSH since the start.", registry=registry).set_function(lambda: probes.looks)
    Gauge("kok_ansible_runs", "Ansible runs since the start.", registry=registry).set_function(lambda: jobs.runs)
    machines = Gauge("kok_machines", "Machines by what their last pass found.", ["state"], registry=registry)
    machines.labels("open").set_function(lambda: sum(verdict.is_open for verdict in board.verdicts.values()))
    machines.labels("stalled").set_function(lambda: sum(verdict.is_stalled for verdict in board.verdicts.values()))
    machines.labels("known").set_function(lambda: len(board.verdicts))
