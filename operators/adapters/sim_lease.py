"""LeasePort in memory: the twin of `lease_kube` for tests of what depends on leadership. Several candidates share one `SimLease`."""

from __future__ import annotations

from dataclasses import replace

from operators.errors import ErrorCode, KokError
from operators.ports.kube import AlreadyExists, Conflict, NotFound, Unreachable
from operators.ports.lease import LeaseRecord


class SimLease:
    """One lock. `reachable = False` makes every call fail as a lost API server does."""

    def __init__(self) -> None:
        self.stored: LeaseRecord | None = None
        self.reachable = True
        self._version = 0

    async def read(self) -> LeaseRecord | None:
        """See LeasePort."""
        self._check_reachable()
        return self.stored

    async def create(self, record: LeaseRecord) -> LeaseRecord:
        """See LeasePort."""
        self._check_reachable()
        if self.stored:
            raise AlreadyExists("the lease exists already")
        return self._store(record)

    async def replace(self, record: LeaseRecord) -> LeaseRecord:
        """See LeasePort."""
        self._check_reachable()
        if not record.version:
            raise KokError(ErrorCode.Internal, "a lease record without a version cannot be compared")
        if self.stored is None:
            raise NotFound("the lease is gone")
        if self.stored.version != record.version:
            raise Conflict("the lease was written in between")
        return self._store(record)

    def _store(self, record: LeaseRecord) -> LeaseRecord:
        self._version += 1
        self.stored = replace(record, version=str(self._version))
        return self.stored

    def _check_reachable(self) -> None:
        if not self.reachable:
            raise Unreachable("the lease's API server cannot be reached")
