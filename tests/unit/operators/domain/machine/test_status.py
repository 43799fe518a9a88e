"""What a Machine shows: the words of the step, stable while nothing changes, and the verdict its pool counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from operators.domain.machine.certificates import CLIENT_SIGNER, CertificateRequest
from operators.domain.machine.difference import package_difference
from operators.domain.machine.host import FileReport, PackageReport
from operators.domain.machine.ladder import next_step
from operators.domain.machine.status import machine_status_of, stalled_by, verdict_of
from operators.domain.machine.view import MachineView
from operators.errors import ErrorCode, KokError
from tests.unit.operators.domain.machine import builders as b
from tests.unit.operators.domain.machine.test_certificates import OWN
from tests.unit.operators.domain.machine.test_ladder import KUBELET_DOWN


def shown(view: MachineView, told: str | KokError = "") -> dict[str, tuple[str, str, str]]:
    status = machine_status_of(view, next_step(view), told)
    return {c.type: (c.status.value, c.reason, c.message) for c in status.conditions}


def test_should_show_a_machine_in_service() -> None:
    conditions = shown(b.right())
    assert {type_: status for type_, (status, _, _) in conditions.items()} == {
        "Ready": "True", "Reconciling": "False", "Stalled": "False", "HostReachable": "True", "PackagesReady": "True", "NodeReady": "True", "GatesOpen": "True",
    }  # fmt: skip
    assert verdict_of(b.right(), next_step(b.right()), "").is_open


def test_should_show_the_same_again_later() -> None:
    view = b.right()
    first = machine_status_of(view, next_step(view), "")
    machine = b.machine().model_copy(update={"status": first})
    later = b.with_(replace(view, now=b.NOW + timedelta(hours=1)), machine=machine)
    assert machine_status_of(later, next_step(later), "") == first


def test_should_say_the_same_words_everywhere() -> None:
    view = b.right(probe=b.probe(error=b.refused()))
    status = machine_status_of(view, next_step(view), "")
    conditions = {c.type: c for c in status.conditions}
    assert status.message == conditions["Ready"].message == conditions["Stalled"].message == "m1 (10.0.0.1:22): Connection refused"
    assert (conditions["Stalled"].reason, conditions["HostReachable"].reason) == ("HostRefused", "HostRefused")
    verdict = verdict_of(view, next_step(view), "")
    assert (verdict.is_open, verdict.is_stalled) == (False, True)


def test_should_keep_what_was_seen_while_a_host_does_not_answer() -> None:
    seen = machine_status_of(b.right(), next_step(b.right()), "")
    view = b.right(probe=b.probe(error=b.refused()), machine=b.machine().model_copy(update={"status": seen}))
    assert machine_status_of(view, next_step(view), "").packages == seen.packages


@pytest.mark.parametrize(("code", "stalls"), [(ErrorCode.Conflict, False), (ErrorCode.Unreachable, False), (ErrorCode.HostClaimed, True)])
def test_should_not_call_a_passing_error_a_stall(code: ErrorCode, stalls: bool) -> None:
    assert (stalled_by(next_step(b.right()), KokError(code, "x")) is not None) is stalls


def test_should_show_certificate_requests_that_were_left() -> None:
    forged = CertificateRequest("csr-9", CLIENT_SIGNER, "jane", ("x",), ("digital signature", "client auth"), False, OWN)
    status, reason, message = shown(b.right(requests=(forged,)))["CertificatesRefused"]
    assert (status, reason) == ("True", "NotItsOwn")
    assert "csr-9 was asked for by jane" in message


def test_should_show_what_differs_and_what_it_will_do() -> None:
    view = b.right(probe=b.probe(KUBELET_DOWN), node=b.node(closed=True))
    kubelet = machine_status_of(view, next_step(view), "").packages[1]
    assert (kubelet.component, kubelet.matches, kubelet.difference) == ("kubelet", False, "unit kubelet.service is not running")
    assert kubelet.pending is not None
    assert kubelet.pending.value == "Restart"


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (None, "is not installed"),
        (PackageReport(""), "is not installed"),
        (PackageReport("kubelet", name="kubelet-0", version="0"), "kubelet-0 is installed, wanted kubelet-1"),
        (PackageReport("kubelet", version="1"), "nothing complete is installed"),
        (PackageReport("kubelet", name="kubelet-1", files={"/x": FileReport()}), "unit kubelet.service is missing"),
    ],
)
def test_should_name_the_first_difference(report: PackageReport | None, words: str) -> None:
    found = package_difference(b.KUBELET, report)
    assert found is not None
    assert words in found.words


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ("0", "sysctl a.b is 0, wanted 1"),
        ("0 (persisted: 1)", "sysctl a.b is 0 (persisted: 1), wanted 1"),
        ("1 (persisted: 0)", "file /etc/sysctl.d/90-kok-s.conf says 0 for sysctl a.b, wanted 1 (it is 1 until the next boot)"),
        ("1 (persisted: edited by hand)", "file /etc/sysctl.d/90-kok-s.conf was edited by hand (sysctl a.b itself is 1, as wanted)"),
    ],
)
def test_should_say_of_a_sysctl_whether_the_kernel_or_the_file_differs(seen: str, words: str) -> None:
    desired = replace(b.KUBELET, name="s-1", component="s", units=(), files=(), artifacts=(), sysctls={"a.b": "1"}, observe=None)
    found = package_difference(desired, PackageReport("s", name="s-1", version="1", sysctls={"a.b": seen}))
    assert found is not None
    assert found.words == words
