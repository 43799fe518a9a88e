"""Decisions: pure functions of what was observed and `now`. No I/O, no clock, no client; templates and keys come in as text."""
