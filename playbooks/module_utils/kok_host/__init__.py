"""What runs on a host: observing it (also the SSH probe), changing it, remembering what was put there. Standard library only, Python 3.8 and newer."""
