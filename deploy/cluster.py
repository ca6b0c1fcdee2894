"""The API server, and the only module that imports ``kubernetes``.

Requests are repeated while the server is away or in trouble. That is safe for all of them: names are fixed by the caller, so a
repeated creation is answered 409, and changes carry a resource version or say the same twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from yaml import YAMLError

from deploy.errors import ClusterError, Reason
from deploy.kinds import Kind, Listing, Object
from deploy.refusals import UNREACHABLE_STATUS, Refusal, error_of, is_passing, read_refusal

FIELD_MANAGER = "nodogram-deploy"
# An answer takes longer only if the server hangs; a watch or a log may be silent for as long as it likes.
ANSWER_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10.0
# The server ends a watch at its deadline itself; this much later the connection counts as lost.
WATCH_GRACE_S = 5.0
# Kubelets keep idle log connections open; one that says nothing for this long is asked for again.
LOG_SILENCE_S = 300.0

# Between looks at what may not be watched.
UNWATCHED_S = 2.0
FORBIDDEN = 403

Change = Literal["changed", "quiet", "lost"]
_Object = TypeVar("_Object", bound=Object)


@dataclass(frozen=True)
class Patience:
    """How long requests are repeated.

    Attributes
    ----------
    at_first_s
        Before the first answer of all: an unreachable server is then most likely a wrong address.
    later_s
        Once the server has answered; a control plane restarts within minutes.
    first_pause_s, longest_pause_s
        Pauses double from one repetition to the next.
    """

    at_first_s: float = 10.0
    later_s: float = 180.0
    first_pause_s: float = 0.25
    longest_pause_s: float = 10.0


class Cluster:
    """One namespace of one API server, as one identity.

    Parameters
    ----------
    api_client
        Of the official client.
    namespace
        Where everything happens.
    patience
        How long requests are repeated.
    say
        Is told when the server is waited for.
    """

    def __init__(
        self,
        api_client: client.ApiClient,
        namespace: str,
        patience: Patience = Patience(),
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.namespace = namespace
        self._apis = {name: getattr(client, name)(api_client) for name in ("CoreV1Api", "BatchV1Api", "AppsV1Api")}
        self._patience = patience
        self._say = say
        self._answered = False

    def read(self, kind: Kind[_Object], name: str) -> _Object:
        """Return one object.

        Raises
        ------
        ClusterError
            ``OBJECT_NOT_FOUND`` and the other reasons of the API server.
        """
        answer = self._ask(kind, f"read_namespaced_{kind.noun}", f"read {kind} {name}", name=name)
        return kind.model.model_validate(answer)

    def find(self, kind: Kind[_Object], name: str) -> _Object | None:
        """Return one object, or ``None`` if there is none of this name."""
        try:
            return self.read(kind, name)
        except ClusterError as error:
            if error.reason is Reason.OBJECT_NOT_FOUND:
                return None
            raise

    def list(self, kind: Kind[_Object], labels: str = "", fields: str = "") -> Listing[_Object]:
        """Return all objects that match a label and a field selector."""
        selectors = _selectors(labels, fields)
        answer = self._ask(kind, f"list_namespaced_{kind.noun}", f"list objects of kind {kind}", **selectors)
        return Listing[kind.model].model_validate(answer)  # type: ignore[name-defined]

    def create(self, kind: Kind[_Object], manifest: Mapping[str, Any]) -> _Object:
        """Create an object; ``OBJECT_CONFLICT`` if the name is taken, perhaps by an earlier attempt of this very call."""
        name = manifest["metadata"]["name"]
        answer = self._ask(
            kind, f"create_namespaced_{kind.noun}", f"create {kind} {name}", body=manifest, field_manager=FIELD_MANAGER
        )
        return kind.model.model_validate(answer)

    def patch(self, kind: Kind[_Object], name: str, changes: Mapping[str, Any]) -> _Object:
        """Merge changes into an object; ``OBJECT_CONFLICT`` if they carry a resource version that is no longer current."""
        answer = self._ask(
            kind, f"patch_namespaced_{kind.noun}", f"change {kind} {name}", name=name, body=changes, field_manager=FIELD_MANAGER
        )
        return kind.model.model_validate(answer)

    def delete(self, kind: Kind[_Object], found: _Object) -> None:
        """Delete this very object and what it owns; nothing happens if it is gone already."""
        name = found.metadata.name
        body = {"preconditions": {"uid": found.metadata.uid}, "propagationPolicy": "Background"}
        try:
            self._ask(kind, f"delete_namespaced_{kind.noun}", f"delete {kind} {name}", name=name, body=body)
        except ClusterError as error:
            if error.reason is not Reason.OBJECT_NOT_FOUND:
                raise

    def wait_for_change(
        self, kind: Kind[_Object], resource_version: str, timeout_s: float, labels: str = "", fields: str = ""
    ) -> Change:
        """Watch until anything that matches changes.

        Events only wake the caller, who lists again: so nothing is missed when a watch expires (410) or its connection drops.

        Returns
        -------
        change
            ``changed``; ``quiet`` after the timeout; ``lost`` if the watch broke: list again after a moment.
        """
        method = getattr(self._apis[kind.api], f"list_namespaced_{kind.noun}")
        seconds = max(1, round(timeout_s))
        try:
            response = method(
                self.namespace,
                **_selectors(labels, fields),
                watch=True,
                resource_version=resource_version,
                timeout_seconds=seconds,
                _preload_content=False,
                _request_timeout=(CONNECT_TIMEOUT_S, seconds + WATCH_GRACE_S),
            )
            with closing(_lines(response)) as lines:
                for line in lines:
                    return "lost" if json.loads(line).get("type") == "ERROR" else "changed"
        except ApiException as error:
            if error.status != FORBIDDEN:
                return "lost"
            # Who may read but not watch looks again after a while.
            time.sleep(min(timeout_s, UNWATCHED_S))
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return "lost"
        return "quiet"

    def log_lines(self, pod: str, container: str) -> Iterator[str]:
        """Follow the log of a container from its beginning: lines that each begin with their time.

        Raises
        ------
        ClusterError
            Also when the connection breaks, after the lines so far.
        """
        what = f"read the log of pod {pod}"
        try:
            response = self._apis["CoreV1Api"].read_namespaced_pod_log(
                pod,
                self.namespace,
                container=container,
                follow=True,
                timestamps=True,
                _preload_content=False,
                _request_timeout=(CONNECT_TIMEOUT_S, LOG_SILENCE_S),
            )
            yield from _lines(response)
        except ApiException as error:
            raise error_of(_refusal(error), what) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise error_of(Refusal(UNREACHABLE_STATUS, message=str(error)), what) from error

    def _ask(self, kind: Kind[Any], method: str, what: str, **arguments: Any) -> Any:
        call = getattr(self._apis[kind.api], method)
        request: dict[str, Any] = {"namespace": self.namespace, "_preload_content": False, **arguments}
        what = f"{what} in namespace {self.namespace}"
        began, pause_s = time.monotonic(), self._patience.first_pause_s
        while True:
            try:
                answer = json.loads(call(**request, _request_timeout=ANSWER_TIMEOUT_S).data)
            except ApiException as error:
                refusal, cause = _refusal(error), error
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                refusal, cause = Refusal(UNREACHABLE_STATUS, message=str(error)), error
            else:
                self._answered = True
                return answer
            self._answered = self._answered or refusal.status not in (UNREACHABLE_STATUS, 401)
            allowed_s = self._patience.later_s if self._answered else self._patience.at_first_s
            if not is_passing(refusal) or time.monotonic() - began + pause_s > allowed_s:
                raise error_of(refusal, what) from cause
            self._say(f"the API server does not answer ({refusal.status or 'no connection'}); trying again")
            time.sleep(max(pause_s, min(refusal.retry_after_s or 0.0, self._patience.longest_pause_s)))
            pause_s = min(2 * pause_s, self._patience.longest_pause_s)


def connect(
    kubeconfig: Path | None,
    context: str | None,
    namespace: str | None,
    say: Callable[[str], object],
    patience: Patience = Patience(),
) -> Cluster:
    """Connect with a kubeconfig file, or as the ServiceAccount of the pod this runs in.

    Parameters
    ----------
    kubeconfig
        ``None`` takes ``KUBECONFIG`` or ``~/.kube/config``, and inside a pod its ServiceAccount.
    context
        ``None`` takes the current one.
    namespace
        ``None`` takes that of the context.

    Raises
    ------
    ClusterError
        ``CLUSTER_CONFIG_INVALID``.
    """
    settings = client.Configuration()
    path = None if kubeconfig is None else str(kubeconfig)
    try:
        found = _load(path, context, settings)
    except (ConfigException, YAMLError, OSError, ValueError, TypeError) as error:
        raise ClusterError(
            Reason.CLUSTER_CONFIG_INVALID,
            f"{path or 'kubeconfig'}: {error}; name a kubeconfig with --kubeconfig or KUBECONFIG and a context with --context",
        ) from error
    settings.retries = False  # repeated here, where it can be said
    return Cluster(client.ApiClient(settings), namespace or found or "default", patience, say)


def _load(path: str | None, context: str | None, settings: client.Configuration) -> str | None:
    """Fill the settings; return the namespace of the context."""
    try:
        config.load_kube_config(path, context=context, client_configuration=settings)
        contexts, current = config.list_kube_config_contexts(path)
    except ConfigException:
        if path is not None or context is not None:
            raise
        config.load_incluster_config(client_configuration=settings)
        namespace = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
        return namespace.read_text(encoding="ascii").strip() if namespace.is_file() else None
    chosen = current if context is None else next(c for c in contexts if c["name"] == context)
    name: str | None = chosen["context"].get("namespace")
    return name


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return {k: v for k, v in (("label_selector", labels), ("field_selector", fields)) if v}


def _refusal(error: ApiException) -> Refusal:
    body = error.body if isinstance(error.body, str) else ""
    headers: Mapping[str, str] = error.headers or {}
    return read_refusal(error.status or UNREACHABLE_STATUS, body or str(error.reason or ""), headers.get("Retry-After"))


def _lines(response: urllib3.BaseHTTPResponse) -> Generator[str, None, None]:
    """Yield the lines of a streamed answer; close the connection whatever happens."""
    rest = b""
    try:
        for part in response.stream(amt=None, decode_content=False):
            *lines, rest = (rest + part).split(b"\n")
            yield from (line.decode("utf-8", errors="replace") for line in lines)
        if rest:
            yield rest.decode("utf-8", errors="replace")
    finally:
        response.close()
        response.release_conn()
