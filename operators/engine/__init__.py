"""What every controller of kok runs on: queue, reconcile loop, cache with sweeps, leader election, process, logs, metrics.

Knows no kind: neither `operators.api` nor `operators.domain`. A controller is an object with the five members of
`operators.engine.reconcile.Controller`; `operators.engine.process.Process` runs it.
"""
