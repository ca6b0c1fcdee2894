"""Exit 0 if the server in this container is alive; for engines that ask so. Kubernetes asks the server itself."""

from __future__ import annotations

import os
import ssl
import sys
import urllib.error
import urllib.request

_TIMEOUT_S = 4


def is_alive() -> bool:
    """Ask ``/livez`` on the port and with the scheme the server was told to use."""
    secure = bool(os.environ.get("NODOGRAM_TLS_CERTIFICATE"))
    context = ssl.create_default_context() if secure else None
    if context is not None:
        # The certificate is for the outside; this is the same container.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"http{'s' * secure}://127.0.0.1:{os.environ.get('NODOGRAM_HTTP_PORT', '3000')}/livez"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S, context=context) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


if __name__ == "__main__":
    sys.exit(not is_alive())
