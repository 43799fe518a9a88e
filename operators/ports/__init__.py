"""Protocols for everything outside the process. No implementation; adapters implement, operators call."""
