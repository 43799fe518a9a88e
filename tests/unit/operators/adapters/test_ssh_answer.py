"""A command on a host that ends before it reads what it is sent."""

from __future__ import annotations

from typing import Any

from operators.adapters.ssh import _answer


class Connection:
    """Of a host without Python: the shell ends at once, before or after the text could be sent."""

    def __init__(self, *, is_quick: bool) -> None:
        self.is_quick, self.asked = is_quick, list[str]()

    async def run(self, command: str, **options: Any) -> str:
        self.asked.append(command)
        if self.is_quick and "input" in options:
            raise BrokenPipeError("Channel not open for sending")
        return "sh: 1: python3: not found"


async def test_should_ask_a_command_that_ended_before_it_read_why_it_did() -> None:
    for is_quick, times in ((True, 2), (False, 1)):
        connection = Connection(is_quick=is_quick)
        assert str(await _answer(connection, "python3 -", "text")) == "sh: 1: python3: not found"  # type: ignore[arg-type]
        assert connection.asked == ["python3 -"] * times
