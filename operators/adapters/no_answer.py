"""Why a server or host did not answer, in plain words: the kernel's, TLS's and aiohttp's errors as a person would say them. Pure.

What comes out follows "cannot be reached: ". Used by every adapter that opens connections, and by `kok host scan`.
"""

from __future__ import annotations

import errno
import socket
import ssl

import aiohttp

NO_WAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN)
"""Nobody is there: it is off, or cut off. A host that refuses is another matter."""
_BY_ERRNO = {
    errno.ECONNREFUSED: "the connection was refused: nothing listens on that port",
    errno.EHOSTUNREACH: "there is no route to it",
    errno.ENETUNREACH: "there is no route to its network",
    errno.ETIMEDOUT: "it did not answer in time",
    errno.ECONNRESET: "it broke the connection off",
    errno.EPIPE: "it broke the connection off",
}


def mistrust(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The failed check of the server's certificate, if that is what the error is about."""
    found = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
    return found if isinstance(found, ssl.SSLCertVerificationError) else None


def why_no_answer(error: BaseException) -> str:
    """One clause without a full stop."""
    if checked := mistrust(error):
        return f"its certificate does not verify: {checked.verify_message.rstrip('.')}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _of_system(error.os_error, error.host)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "its answer was cut off"
    if isinstance(error, aiohttp.InvalidURL):
        return "that is no address"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"it answered HTTP {error.status}" if error.headers else "what it answered is no HTTP"
    return _of_system(error)


def _of_system(error: BaseException, host: str = "") -> str:
    if isinstance(error, socket.gaierror):
        return f"the name {host} does not resolve" if host else "its name does not resolve"
    if isinstance(error, TimeoutError):
        return _BY_ERRNO[errno.ETIMEDOUT]
    if isinstance(error, ssl.SSLError):
        return f"what answers there does not speak TLS as expected ({(error.reason or 'no reason given').replace('_', ' ').lower()})"
    if isinstance(error, OSError) and error.errno in _BY_ERRNO:
        return _BY_ERRNO[error.errno]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
