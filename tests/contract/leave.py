"""A GrantsPort that says yes to everything that is asked, and knows what it said: for tests of ports that want a Grant."""

from __future__ import annotations

from operators.api.risk import Operation, Outcome, Target
from operators.errors import ErrorCode, KokError
from operators.ports.grants import Grant, GrantRequest, OpId, Waiting


class Leave:
    """GrantsPort. `asked` and `settled` may be looked at; `denies` makes it say no."""

    def __init__(self) -> None:
        self.asked: list[GrantRequest] = []
        self.settled: list[tuple[str, Outcome]] = []
        self.denies = ""
        self.left = 900.0
        """Seconds that every grant is still good for."""
        self._given: dict[str, Grant] = {}
        self._over: list[Grant] = []

    async def ask(self, request: GrantRequest) -> Grant | Waiting:
        self.asked.append(request)
        if self.denies:
            return Waiting(self.denies, 1.0, denied=True, attempt=request.attempt + 1)
        name = f"{request.operation.value}-{request.target.name}-{request.target_uid}-{request.step}".lower()
        return self._given.setdefault(name, Grant(OpId(name), request.namespace, "u", request.operation, request.target))

    async def verify(self, grant: Grant, *, operation: Operation, target: str, left: float = 0.0) -> None:
        known = self._given.get(grant.op_id)
        is_over = self.left <= left or known in self._over
        if known is None or known.operation is not operation or known.target.name != target or is_over:
            raise KokError(ErrorCode.GrantInvalid, f"grant {grant.op_id} does not allow to {operation.value} {target}", "nothing was done")

    async def settle(self, grant: Grant, outcome: Outcome) -> None:
        self.settled.append((grant.target.name, outcome))
        self._over.append(grant)

    def given(self, operation: Operation, machine: str) -> Grant:
        """Leave that was asked for and given."""
        grant = Grant(
            OpId(f"{operation.value}-{machine}".lower()), "kok", "u", operation, Target(kind="Machine", name=machine, cluster="demo")
        )
        return self._given.setdefault(grant.op_id, grant)
