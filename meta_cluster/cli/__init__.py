"""The `kok` command, a file per verb."""
