"""What a host needs next, from what was observed of it. Pure; called by machine_operator."""
