"""Ask a server of nodogram whether it is ready and, if a digest is given, whether it serves that bundle.

Standard library only, so that it runs in any container with Python. Exit status: 0 as wanted, 1 not.
"""

from __future__ import annotations

import argparse
import http.client
import json
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

OK, UNAUTHORIZED = 200, 401


class Server:
    """One server, a new connection for every question.

    Parameters
    ----------
    url
        Scheme, host and port.
    tls_folder
        Folder with tls.crt and tls.key to show, and ca.crt to check the server's certificate by; unchecked without.
    timeout_s
        Of one answer.
    """

    def __init__(self, url: str, tls_folder: Path | None, timeout_s: float) -> None:
        self._parts = urlsplit(url)
        self._tls_folder = tls_folder
        self._timeout_s = timeout_s

    def get(self, path: str, token: str | None = None) -> tuple[int, bytes]:
        """Return status and body of one GET."""
        connection = self._connection()
        try:
            connection.request("GET", path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._context())

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        authority = None if self._tls_folder is None else self._tls_folder / "ca.crt"
        if authority is not None and authority.is_file():
            context.load_verify_locations(authority)
        else:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self._tls_folder is not None and (self._tls_folder / "tls.key").is_file():
            context.load_cert_chain(self._tls_folder / "tls.crt", self._tls_folder / "tls.key")
        return context


def find_fault(server: Server, path: str, digest: str | None, token_file: Path | None) -> str | None:
    """Return what is not as wanted, ``None`` if all is.

    Parameters
    ----------
    path
        Answered with 200 by a server as wanted.
    digest
        Of the bundle that should be served; ``None`` not to ask.
    token_file
        ``name:token`` lines; the first is used, and asking without one must be refused.
    """
    status, _ = server.get(path)
    if status != OK:
        return f"{path}: status {status}; {OK} is required"
    if digest is None:
        return None
    token = None if token_file is None else _first_token(token_file)
    if token is not None:
        status, _ = server.get("/v1/model")
        if status != UNAUTHORIZED:
            return f"/v1/model without a token: status {status}; {UNAUTHORIZED} is required"
    status, body = server.get("/v1/model", token)
    if status != OK:
        return f"/v1/model: status {status}; {OK} is required"
    served = json.loads(body)["digest"]
    return None if served == digest else f"bundle {served[:12]} is served; {digest[:12]} is required"


def _first_token(path: Path) -> str:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return next(line.partition(":")[2].strip() for line in lines if line and not line.startswith("#"))


def main() -> None:
    """Ask, and end with 0 or with 1 and the reason."""
    parser = argparse.ArgumentParser(description="Ask a server whether it is ready and what it serves.")
    parser.add_argument("url")
    parser.add_argument("--path", default="/readyz")
    parser.add_argument("--digest")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--tls-folder", type=Path)
    parser.add_argument("--timeout-s", type=float, default=5.0)
    given = parser.parse_args()
    try:
        fault = find_fault(Server(given.url, given.tls_folder, given.timeout_s), given.path, given.digest, given.token_file)
    except (OSError, http.client.HTTPException) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault is not None:
        sys.exit(fault)
    sys.stdout.write(f"{given.path} answers {OK}" + ("" if given.digest is None else f", bundle {given.digest[:12]}") + "\n")


if __name__ == "__main__":
    main()
