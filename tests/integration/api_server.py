"""A real API server for tests: etcd and kube-apiserver from the assets, on loopback, in a folder of their own; kube-controller-manager on request.

The admin shows a token, every other identity that a test asks for a client certificate. Started by tests/integration/conftest.py.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
import ipaddress
import os
import random
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Self

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meta_cluster.assets.builder import Builder
from meta_cluster.assets.folder import AssetsFolder
from meta_cluster.assets.table import table
from operators.adapters.kube_credentials import kubeconfig_credentials

ETCD, APISERVER, CONTROLLER_MANAGER, KUBECTL = "etcd-3.6.8", "kube-apiserver-1.35.4", "kube-controller-manager-1.35.4", "kubectl-1.35.4"
START_SECONDS = 90.0
CRDS = Path(__file__).parents[2] / "manifests" / "crds"
LAZY = {"GOGC": os.environ.get("GOGC", "400")}
"""Servers of tests may hold garbage: collecting it is much of their work."""
IDLE = (
    "--enable-priority-and-fairness=false", "--etcd-count-metric-poll-period=0", "--etcd-db-metric-poll-interval=0s",
    "--etcd-compaction-interval=0",
)  # fmt: skip
"""What a server does besides answering: of ten servers beside each other it was a tenth of all work."""
UNUSED_CONTROLLERS = (
    "endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller", "ttl-controller", "resourcequota-controller",
    "horizontal-pod-autoscaler-controller", "persistentvolume-attach-detach-controller", "validatingadmissionpolicy-status-controller",
    "replicationcontroller-controller", "cronjob-controller", "ttl-after-finished-controller", "legacy-serviceaccount-token-cleaner-controller",
)  # fmt: skip
"""Controllers whose work no test looks at: those of endpoints alone write two objects and two events whenever a pod of a plane changes."""
ADMIN = ("test-admin", ("system:masters",))
"""User and groups of nearly every request. Its token is a string to compare; a certificate is verified anew for each request: an eighth of a server's work."""
TEST_PORTS = (10_000, 30_000)
PORT_CLAIMS = Path(tempfile.gettempdir()) / "kok-test-ports"
_CLAIMS: list[IO[str]] = []


def asset(name: str) -> Path:
    """The binary of that name; made if it is not there yet, never a reason to skip."""
    entry = AssetsFolder().index().get(name)
    path = AssetsFolder().root / entry.path if entry else None
    if path and path.is_file():
        return path
    return Builder(AssetsFolder(), table()).ensure([name])[name]


def free_port() -> int:
    """A loopback port that nobody listens on, and that no other test run is given while this process lives.

    It lies below the range from which the kernel serves `bind(0)` and outgoing connections: a port of that range that was
    free a moment ago is taken by any client in between.
    """
    PORT_CLAIMS.mkdir(exist_ok=True)
    for _ in range(1000):
        port = random.randrange(*TEST_PORTS)
        if _claimed(port) and not _in_use(port):
            return port
    raise AssertionError(f"no free loopback port between {TEST_PORTS[0]} and {TEST_PORTS[1]} after 1000 tries")


def _claimed(port: int) -> bool:
    claim = (PORT_CLAIMS / str(port)).open("w")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        claim.close()
        return False
    _CLAIMS.append(claim)  # the kernel lets go of the lock when this process ends, however it ends
    return True


def _in_use(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Go's servers do
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


class TestAuthority:
    """One CA and what it signs, as PEM texts."""

    __test__ = False

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        builder = self._builder(self._name, self._key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        self._certificate = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.pem = _pem(self._certificate)
        self.key_pem = key_pem(self._key)

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + timedelta(days=1))

    def leaf(self, name: str, *, groups: Sequence[str] = (), server: bool = False) -> tuple[str, str]:
        """Certificate and key, for a user in groups or for a server on loopback."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        builder = self._builder(x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if server:
            names = [x509.DNSName("localhost"), x509.DNSName("kubernetes"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _pem(builder.sign(self._key, hashes.SHA256())), key_pem(key)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """The key as "EC PRIVATE KEY" PEM: kube-apiserver reads service account keys in no other EC format."""
    openssl = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, openssl, serialization.NoEncryption()).decode()


def _die_with_parent() -> None:
    """In the child: be killed when the test run dies, however it dies (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Child:
    """A child process with its log."""

    def __init__(self, name: str, argv: Sequence[str | Path], folder: Path) -> None:
        self.name, self.argv, self.log = name, [str(part) for part in argv], folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **LAZY}, start_new_session=True,
                preexec_fn=_die_with_parent,
            )  # fmt: skip

    def check(self) -> None:
        """Fail with the end of its log if it ended by itself."""
        if self.process and self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}: {self.log.read_text()[-3000:]}")

    def signal(self, number: int) -> None:
        if self.process:
            self.process.send_signal(number)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class ApiServer:
    """etcd and kube-apiserver. `stop` and `start` keep the data; `close` removes everything."""

    def __init__(self, *, extra_flags: Sequence[str] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kok-test-api-"))
        self.authority = TestAuthority()
        self.port, self._etcd_ports = free_port(), (free_port(), free_port())
        self.url = f"https://127.0.0.1:{self.port}"
        self._kubeconfigs = dict[tuple[str, tuple[str, ...]], str]()
        self._admin_token = secrets.token_urlsafe()
        self._write_keys()
        self.etcd = Child("etcd", self._etcd_argv(), self.folder)
        self.apiserver = Child("kube-apiserver", [*self._apiserver_argv(), *extra_flags], self.folder)
        self.controller_manager: Child | None = None

    @property
    def etcd_port(self) -> int:
        """Where its etcd serves clients, without TLS."""
        return self._etcd_ports[0]

    def _write_keys(self) -> None:
        certificate, key = self.authority.leaf("kube-apiserver", server=True)
        service_accounts = key_pem(ec.generate_private_key(ec.SECP256R1()))
        files = {"ca.crt": self.authority.pem, "ca.key": self.authority.key_pem, "server.crt": certificate, "server.key": key}
        user, groups = ADMIN
        files |= {"service-accounts.key": service_accounts, "tokens.csv": f"{self._admin_token},{user},1,{','.join(groups)}\n"}
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self.admin_kubeconfig = self.folder / "admin.kubeconfig"
        self.admin_kubeconfig.write_text(self.kubeconfig(ADMIN[0], groups=ADMIN[1]))

    def _etcd_argv(self) -> list[str | Path]:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd_ports)
        return [
            asset(ETCD), "--name=test", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=test={peer}",
        ]  # fmt: skip

    def _apiserver_argv(self) -> list[str | Path]:
        folder = self.folder
        return [
            asset(APISERVER), f"--etcd-servers=http://127.0.0.1:{self._etcd_ports[0]}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={self.port}", f"--tls-cert-file={folder / 'server.crt'}",
            f"--tls-private-key-file={folder / 'server.key'}", f"--client-ca-file={folder / 'ca.crt'}",
            f"--token-auth-file={folder / 'tokens.csv'}", "--authorization-mode=Node,RBAC", "--disable-admission-plugins=ServiceAccount", "--enable-bootstrap-token-auth",
            "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'service-accounts.key'}",
            f"--service-account-signing-key-file={folder / 'service-accounts.key'}",
            "--endpoint-reconciler-type=none", "--allow-privileged", "--profiling=false", "--v=1", *IDLE,
        ]  # fmt: skip

    def kubeconfig(self, user: str, *, groups: Sequence[str] = ()) -> str:
        """A kubeconfig for that identity; what it may do is up to RBAC (`system:masters` may do all). The same one whenever it is asked for."""
        identity = user, tuple(groups)
        if identity not in self._kubeconfigs:
            self._kubeconfigs[identity] = self._new_kubeconfig(user, groups)
        return self._kubeconfigs[identity]

    def _new_kubeconfig(self, user: str, groups: Sequence[str]) -> str:
        cluster = {"server": self.url, "certificate-authority-data": _base64(self.authority.pem)}
        if (user, tuple(groups)) == ADMIN:
            identity = {"token": self._admin_token}
        else:
            certificate, key = self.authority.leaf(user, groups=groups)
            identity = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": user, "user": identity}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
                "current-context": "test",
            }
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start both and wait until the server is ready."""
        if self.etcd.process is None:
            self.etcd.start()
        self.apiserver.start()
        self._wait_ready()

    def _wait_ready(self) -> None:
        context = ssl.create_default_context(cadata=self.authority.pem)
        deadline = time.monotonic() + START_SECONDS
        words: object = "no answer"
        while time.monotonic() < deadline:
            self.etcd.check()
            self.apiserver.check()
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", context=context, timeout=5):
                    return
            except (OSError, urllib.error.URLError) as error:
                words = error
            time.sleep(0.1)
        raise AssertionError(f"kube-apiserver is not ready after {START_SECONDS:.0f} s: {words}: {self.apiserver.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """Kill the API server; etcd and the data stay."""
        self.apiserver.kill()

    def start_controller_manager(self) -> None:
        """Run kube-controller-manager (garbage collection, workloads, volumes, service accounts, namespaces); does nothing if it runs."""
        if self.controller_manager:
            return
        argv = [
            asset(CONTROLLER_MANAGER), f"--kubeconfig={self.admin_kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}", f"--root-ca-file={self.folder / 'ca.crt'}",
            f"--service-account-private-key-file={self.folder / 'service-accounts.key'}",
            f"--cluster-signing-cert-file={self.folder / 'ca.crt'}", f"--cluster-signing-key-file={self.folder / 'ca.key'}",
            f"--cert-dir={self.folder / 'controller-manager'}", "--kube-api-qps=1000", "--kube-api-burst=1000",
            "--node-monitor-grace-period=1h",  # simulated kubelets do not renew what they said
            f"--controllers={','.join(('*', *(f'-{name}' for name in UNUSED_CONTROLLERS)))}",
        ]  # fmt: skip
        self.controller_manager = Child("kube-controller-manager", argv, self.folder)
        self.controller_manager.start()

    def stop_controller_manager(self) -> None:
        """End it, if it runs; it can be started again."""
        if self.controller_manager:
            self.controller_manager.kill()
            self.controller_manager = None

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run the assets' kubectl as admin; its output. A failure is an AssertionError with what it said."""
        done = subprocess.run(
            [asset(KUBECTL), f"--kubeconfig={self.admin_kubeconfig}", *arguments],
            input=stdin, capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(self.folder)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def install_kinds(self) -> None:
        """Every CRD of ours, until each is served. Not by kubectl, which reads the whole API twice for it: seconds of each test run."""
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        files = sorted(CRDS.glob("*.yaml"))
        for file in files:
            self._send("PATCH", f"{definitions}/{file.stem}?fieldManager=kubectl", file.read_bytes())
        waiting = [file.stem.partition(".") for file in files]
        deadline = time.monotonic() + START_SECONDS
        while waiting:
            waiting = [(plural, dot, group) for plural, dot, group in waiting if not self._is_served(f"/apis/{group}/v1alpha1/{plural}")]
            assert time.monotonic() < deadline, f"not served after {START_SECONDS:.0f} s: {[plural for plural, *_ in waiting]}"
            time.sleep(0.05 if waiting else 0)

    def _is_served(self, path: str) -> bool:
        try:
            self._send("GET", f"{path}?limit=1")
        except urllib.error.HTTPError as error:
            if error.code not in (404, 503):
                raise
            return False
        return True

    def _send(self, method: str, path: str, body: bytes | None = None) -> None:
        headers = {"Content-Type": "application/apply-patch+yaml", "Authorization": f"Bearer {self._admin_token}"}
        request = urllib.request.Request(f"{self.url}{path}", body, headers, method=method)
        context = kubeconfig_credentials(self.admin_kubeconfig.read_text()).ssl_context()
        with urllib.request.urlopen(request, context=context, timeout=60):
            return

    def close(self) -> None:
        """End the processes and remove the folder."""
        for child in (self.controller_manager, self.apiserver, self.etcd):
            if child:
                child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
