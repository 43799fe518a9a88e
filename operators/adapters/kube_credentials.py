"""Who we are to an API server, from a kubeconfig (file or text) or from the pod we run in.

Private keys go from the kubeconfig into TLS contexts without touching a disk. Used by `kube`, `kube_connector` and `kopf_watch`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import ssl
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from operators.errors import ErrorCode, KokError
from operators.ports.kube import Unauthorized
from operators.yaml_text import read

IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_FILE_SECONDS = 60.0
PLUGIN_SECONDS = 60.0
CONTEXTS_SHOWN = 10
PLUGIN_HINT = "run `kubectl get ns` to see it fail"


@dataclass(frozen=True, slots=True)
class Credentials:
    """One identity at one server. PEM texts; at most one of certificate, token, token_file and exec is set. Secrets stay out of repr."""

    server: str
    ca_pem: str = ""
    certificate_pem: str = field(default="", repr=False)
    key_pem: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    token_file: str = ""
    exec: Mapping[str, Any] | None = field(default=None, repr=False)
    tls_server_name: str = ""
    verify: bool = True
    proxy: str = ""
    namespace: str = ""
    as_user: str = ""
    """Whom to act as (impersonation); empty: as ourselves."""
    as_groups: tuple[str, ...] = ()

    def ssl_context(self) -> ssl.SSLContext:
        """A TLS context that trusts exactly `ca_pem` (the system's CAs if there is none) and shows the certificate if there is one."""
        context = ssl.create_default_context(cadata=self.ca_pem or None)
        if self.certificate_pem:
            with self.pem_path() as path:
                context.load_cert_chain(path)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @contextmanager
    def pem_path(self) -> Iterator[str]:
        """A path that reads as certificate plus key while in use, and is memory: `ssl` takes them only by path."""
        descriptor = os.memfd_create("kok-client-certificate", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, f"{self.certificate_pem}\n{self.key_pem}\n".encode())
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)


class TokenSource:
    """The bearer token of some credentials, kept fresh: a token file is read again every minute, an exec plugin run when its token ends."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._token, self._until = credentials.token, float("inf") if credentials.token else 0.0

    async def token(self) -> str:
        """The token to send now; empty if a certificate speaks for us. Raises Unauthorized if it cannot be had."""
        if time.time() < self._until or not (self._credentials.token_file or self._credentials.exec):
            return self._token
        if self._credentials.token_file:
            self._token, self._until = self._read_file(), time.time() + TOKEN_FILE_SECONDS
        else:
            status = await run_exec_plugin(self._credentials.exec or {})
            self._token, self._until = str(status.get("token") or ""), _expiry_of(status)
        return self._token

    def expire(self) -> None:
        """The server refused it: have another one next time."""
        if self._credentials.token_file or self._credentials.exec:
            self._until = 0.0

    def _read_file(self) -> str:
        path = self._credentials.token_file
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise Unauthorized(f"the token file {path} cannot be read: {error.strerror}") from error


async def run_exec_plugin(plugin: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `status` of a client-go credential plugin: its token and expirationTimestamp. Raises Unauthorized if it gives no token.

    The protocol: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
    """
    command = [str(plugin.get("command") or ""), *(str(argument) for argument in plugin.get("args") or ())]
    question = {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": {"interactive": False}}
    extra = {str(item["name"]): str(item["value"]) for item in plugin.get("env") or ()}
    environment = {**os.environ, **extra, "KUBERNETES_EXEC_INFO": json.dumps(question)}
    try:
        code, out, err = await _run(command, environment)
    except (OSError, TimeoutError) as error:
        raise Unauthorized(f"the credential plugin {command[0]} failed: {error or 'no answer in time'}", hint=PLUGIN_HINT) from error
    status: Mapping[str, Any] = {} if code else _status_of(out)
    if not status.get("token"):
        words = err.decode(errors="replace").strip()[-300:] or "it gave no token (plugins that give certificates are not supported)"
        raise Unauthorized(f"the credential plugin {command[0]} failed: {words}", hint=PLUGIN_HINT)
    return status


async def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, bytes, bytes]:
    """Exit code, output and errors; the child does not outlive its time."""
    child = await asyncio.create_subprocess_exec(*command, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(PLUGIN_SECONDS):
            out, err = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    return child.returncode or 0, out, err


def _status_of(answer: bytes) -> Mapping[str, Any]:
    """The status of an ExecCredential; empty if the answer is none."""
    try:
        status = json.loads(answer)["status"]
    except (ValueError, KeyError, TypeError):
        return {}
    return status if isinstance(status, dict) else {}


def _expiry_of(status: Mapping[str, Any]) -> float:
    """Seconds since 1970 until which to use it: half a minute before it ends, a minute from now if it does not say."""
    stamp = status.get("expirationTimestamp")
    if not stamp:
        return time.time() + TOKEN_FILE_SECONDS
    return datetime.fromisoformat(str(stamp)).astimezone(UTC).timestamp() - 30.0


def in_cluster_credentials(root: Path = IN_CLUSTER) -> Credentials:
    """Those of the pod we run in. Raises KokError when we run in none."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (root / "token").is_file():
        raise KokError(ErrorCode.Usage, "this is no pod, and no kubeconfig was given", "pass --kubeconfig FILE or set KUBECONFIG")
    namespace = (root / "namespace").read_text().strip() if (root / "namespace").is_file() else ""
    address = f"[{host}]" if ":" in host else host
    ca_pem = (root / "ca.crt").read_text()
    return Credentials(f"https://{address}:{port}", ca_pem=ca_pem, token_file=str(root / "token"), namespace=namespace)


def kubeconfig_credentials(text: str, *, context: str = "", base: Path = Path(), origin: str = "kubeconfig") -> Credentials:
    """Those of a kubeconfig's text, of its current context if none is named; `base` is where its relative paths start.

    Raises KokError with code SecretInvalid that names what is wrong in `origin`.
    """
    try:
        config = read(text)
    except yaml.YAMLError as error:
        raise _broken(origin, f"it is no YAML: {_yaml_fault(error)}") from error
    if not isinstance(config, dict):
        raise _broken(origin, "it is empty" if config is None else "it is no kubeconfig (a YAML mapping with clusters, users and contexts)")
    chosen = _context(config, context, origin)
    cluster = _named(config, "clusters", "cluster", str(chosen.get("cluster") or ""), origin)
    user = _named(config, "users", "user", str(chosen["user"]), origin) if chosen.get("user") else {}
    if "auth-provider" in user:
        raise _broken(origin, "auth-provider is not supported (kubectl dropped it, too): use an exec plugin")
    credentials = Credentials(
        server=str(cluster.get("server") or "").rstrip("/"),
        ca_pem=_pem(cluster, "certificate-authority", base, origin),
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        verify=not cluster.get("insecure-skip-tls-verify", False),
        proxy=str(cluster.get("proxy-url") or ""),
        namespace=str(chosen.get("namespace") or ""),
    )
    if not credentials.server:
        raise _broken(origin, f"cluster {chosen.get('cluster')!r} has no server")
    return _with_user(credentials, user, base, origin)


def _with_user(credentials: Credentials, user: Mapping[str, Any], base: Path, origin: str) -> Credentials:
    token_file = str(base / str(user["tokenFile"])) if user.get("tokenFile") and not user.get("token") else ""
    return replace(
        credentials,
        certificate_pem=_pem(user, "client-certificate", base, origin),
        key_pem=_pem(user, "client-key", base, origin),
        token=str(user.get("token") or ""),
        token_file=token_file,
        exec=user.get("exec"),
        as_user=str(user.get("as") or ""),
        as_groups=tuple(str(group) for group in user.get("as-groups") or ()),
    )


def kubeconfig_file_credentials(path: Path | str, *, context: str = "") -> Credentials:
    """Those of a kubeconfig file. Raises KokError if it is not there or broken."""
    path = Path(path).expanduser()
    try:
        text = path.read_text()
    except OSError as error:
        why = (
            f"there is no kubeconfig {path}"
            if isinstance(error, FileNotFoundError)
            else f"kubeconfig {path} cannot be read: {error.strerror}"
        )
        raise KokError(ErrorCode.Usage, why, "pass --kubeconfig FILE or set KUBECONFIG") from error
    except UnicodeDecodeError as error:
        raise _broken(str(path), "it is no text") from error
    return kubeconfig_credentials(text, context=context, base=path.parent, origin=str(path))


def _context(config: Mapping[str, Any], wanted: str, origin: str) -> Mapping[str, Any]:
    """The context of that name, or the current one. Raises KokError Usage that lists the contexts there are."""
    items = [item for item in config.get("contexts") or () if isinstance(item, dict)]
    names = [str(item["name"]) for item in items if item.get("name") and isinstance(item.get("context"), dict)]
    name = wanted or str(config.get("current-context") or "")
    if name in names:
        return _named(config, "contexts", "context", name, origin)
    if not names:
        raise _broken(origin, "it has no contexts")
    missing = f"has no context named {name!r}" if name else "names no current context"
    shown = ", ".join(names[:CONTEXTS_SHOWN]) + (f" and {len(names) - CONTEXTS_SHOWN} more" if len(names) > CONTEXTS_SHOWN else "")
    raise KokError(ErrorCode.Usage, f"{origin} {missing}; it has: {shown}", "pass --context NAME")


def _yaml_fault(error: yaml.YAMLError) -> str:
    """One line of what PyYAML says on many."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "it cannot be parsed"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else " ".join(str(problem).split())


def _named(config: Mapping[str, Any], plural: str, singular: str, name: str, origin: str) -> Mapping[str, Any]:
    for item in config.get(plural) or ():
        if isinstance(item, dict) and item.get("name") == name and isinstance(item.get(singular), dict):
            found: Mapping[str, Any] = item[singular]
            return found
    raise _broken(origin, f"it has no {singular} named {name!r}")


def _pem(section: Mapping[str, Any], field_name: str, base: Path, origin: str) -> str:
    """The PEM text of `field-data` (base64), or of the file that `field` names."""
    data = section.get(f"{field_name}-data")
    if data:
        try:
            return base64.b64decode(data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _broken(origin, f"{field_name}-data is no base64 of PEM") from error
    if not section.get(field_name):
        return ""
    path = base / str(section[field_name])
    try:
        return path.read_text()
    except OSError as error:
        raise _broken(origin, f"{field_name} {path}: {error.strerror}") from error


def _broken(origin: str, why: str) -> KokError:
    return KokError(ErrorCode.SecretInvalid, f"{origin} cannot be used: {why}", "compare it with what `kok kubeconfig` prints")
