"""The kubelet's bootstrap kubeconfig: written when the node has no credentials, taken away when it has, because its token is dead by then."""

from __future__ import annotations

from . import place, units
from .observe import kubelet_credentials, read, run

PATH = "/etc/kubernetes/bootstrap-kubelet.conf"
UNIT = "kubelet.service"


def provide(kubeconfig):
    """Texts of what changed. A kubelet that runs already is restarted: it reads the file only at its start."""
    if not kubeconfig:
        return ["bootstrap kubeconfig removed"] if kubelet_credentials() and place.remove(PATH) else []
    if read(PATH) == kubeconfig:
        return []
    place.write(PATH, [kubeconfig.encode()], "0600", [])
    code, _ = run("systemctl", "is-enabled", "-q", UNIT)
    if code == 0:
        units.act("restart", UNIT)
    return ["bootstrap kubeconfig"]
