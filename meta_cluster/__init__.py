"""What people run: the CLI, the installation into a meta cluster, the lab and the assets. The top floor; nothing imports it."""
