"""Assets: the binaries, images and host packages that kok runs on, found in one folder or built from Go modules and Debian packages.

Called by the CLI, the lab and the test fixtures; knows nothing of clusters. `table` says what there is, `builder` makes it, `folder` keeps it.
"""
