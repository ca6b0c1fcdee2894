"""A container registry asked over HTTP, with the credentials that the container tools use."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nodogram.bundle_fetch.incoming import reading
from nodogram.errors import BundleError, Reason, SettingsError

# Longest wait for a connection and for each piece, s.
_TIMEOUT_S = 60.0
_LARGEST_TOKEN_BYTES = 2**20
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
# Docker Hub answers under another name than the one its images carry, and its credentials are kept under a third.
_HUB = "docker.io"
_HUB_API = "registry-1.docker.io"
_HUB_CREDENTIALS = "https://index.docker.io/v1/"


class Registry:
    """One repository of a registry, over HTTPS; over HTTP only on this very machine.

    Parameters
    ----------
    host
        With its port where it has one.
    repository
        Name in the registry.
    """

    def __init__(self, host: str, repository: str) -> None:
        self._host = host
        self._repository = repository
        scheme = "http" if _is_loopback(host) else "https"
        self._base = f"{scheme}://{_HUB_API if host == _HUB else host}/v2/{repository}"
        self._opener = urllib.request.build_opener(_SafeRedirects)
        self._authorization: str | None = None

    def manifest(self, version: str, media_type: str) -> http.client.HTTPResponse:
        """Open the manifest of a tag or digest.

        Raises
        ------
        BundleError
            ``BUNDLE_NOT_FOUND`` or ``UNAUTHENTICATED``.
        """
        return self._get(f"{self._base}/manifests/{version}", {"Accept": media_type})

    def blob(self, digest: str) -> http.client.HTTPResponse:
        """Open a blob.

        Raises
        ------
        BundleError
            As :meth:`manifest`.
        """
        return self._get(f"{self._base}/blobs/{digest}", {})

    def _get(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Ask; a registry that wants to know who asks is told, once."""
        try:
            return self._open(url, headers, self._authorization)
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "")
            error.close()
            if error.code != http.HTTPStatus.UNAUTHORIZED or self._authorization is not None or not challenge:
                raise self._refusal(error.code) from error
        self._authorization = self._answer(challenge)
        try:
            return self._open(url, headers, self._authorization)
        except urllib.error.HTTPError as error:
            error.close()
            raise self._refusal(error.code) from error

    def _open(self, url: str, headers: Mapping[str, str], authorization: str | None) -> http.client.HTTPResponse:
        request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - http and https only, see __init__
        if authorization is not None:
            # Blobs are often redirected to an object store, which must not see it.
            request.add_unredirected_header("Authorization", authorization)

        def ask() -> http.client.HTTPResponse | urllib.error.HTTPError:
            try:
                response: http.client.HTTPResponse = self._opener.open(request, timeout=_TIMEOUT_S)
            except urllib.error.HTTPError as error:
                return error
            return response

        answer = reading(f"registry {self._host}", ask)
        if isinstance(answer, urllib.error.HTTPError):
            raise answer
        return answer

    def _answer(self, challenge: str) -> str:
        """Return the ``Authorization`` a challenge asks for (RFC 7235; token authentication specification)."""
        scheme, _, parameters = challenge.partition(" ")
        credentials = _credentials(self._host)
        if scheme.lower() == "basic" and credentials is not None:
            return f"Basic {credentials}"
        if scheme.lower() != "bearer":
            raise self._refusal(http.HTTPStatus.UNAUTHORIZED)
        return f"Bearer {self._token(dict(_CHALLENGE.findall(parameters)), credentials)}"

    def _token(self, challenge: Mapping[str, str], credentials: str | None) -> str:
        realm = urllib.parse.urlsplit(challenge.get("realm", ""))
        if realm.scheme != "https" and not (realm.scheme == "http" and _is_loopback(realm.netloc)):
            raise BundleError(
                Reason.UNAUTHENTICATED, f"registry {self._host} sends for a token to {realm.geturl()!r}; https is required"
            )
        scope = challenge.get("scope", f"repository:{self._repository}:pull")
        asked = {"service": challenge.get("service", self._host), "scope": scope}
        url = realm._replace(query="&".join(filter(None, (realm.query, urllib.parse.urlencode(asked))))).geturl()
        try:
            response = self._open(url, {}, None if credentials is None else f"Basic {credentials}")
        except urllib.error.HTTPError as error:
            error.close()
            raise self._refusal(error.code) from error
        with response:
            content = reading(realm.netloc, lambda: response.read(_LARGEST_TOKEN_BYTES))
        try:
            return _Token.model_validate_json(content).value
        except ValidationError as error:
            raise BundleError(Reason.UNAUTHENTICATED, f"{realm.netloc} answered something else than a token") from error

    def _refusal(self, status: int) -> BundleError:
        what = f"registry {self._host} answers {status} for {self._repository}"
        if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
            return BundleError(
                Reason.UNAUTHENTICATED,
                f"{what}; credentials that may pull are required in config.json of $DOCKER_CONFIG or ~/.docker",
            )
        return BundleError(Reason.BUNDLE_NOT_FOUND, what)


class _Token(BaseModel):
    """Answer of a token server; ``access_token`` is OAuth's name of the same."""

    model_config = ConfigDict(frozen=True)

    token: str = ""
    access_token: str = ""

    @property
    def value(self) -> str:
        return self.token or self.access_token


class _Login(BaseModel):
    """Credentials of one registry, as container tools keep them; other keys are theirs."""

    model_config = ConfigDict(frozen=True)

    auth: str = ""
    username: str = ""
    password: str = ""


class _DockerConfig(BaseModel):
    """``config.json`` of the container tools, and the content of an image pull secret."""

    model_config = ConfigDict(frozen=True)

    auths: Annotated[dict[str, _Login], Field(default_factory=dict)]


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects never lead from HTTPS to HTTP."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.startswith("https:"):
            raise urllib.error.URLError("a redirect from https to http is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _credentials(host: str) -> str | None:
    """Return ``user:password`` in base64, or ``None`` if there are none for a registry."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    path = folder / "config.json"
    if not path.is_file():
        return None
    try:
        config = _DockerConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, ValidationError) as error:
        raise SettingsError(Reason.SETTINGS_INVALID, f"{path} is not a configuration of the container tools") from error
    known = (
        (_HUB_CREDENTIALS, _HUB) if host == _HUB else (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/")
    )
    login = next((config.auths[name] for name in known if name in config.auths), None)
    if login is None or not (login.auth or login.username):
        return None
    return login.auth or base64.b64encode(f"{login.username}:{login.password}".encode()).decode("ascii")


def _is_loopback(host: str) -> bool:
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
