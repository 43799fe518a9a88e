"""The machine controller: one host at a time from claim to open node, and back."""
