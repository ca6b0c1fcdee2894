"""How the server runs: environment variables ``NODOGRAM_*``, read once, checked once, and nowhere else."""

from __future__ import annotations

import difflib
import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from nodogram.errors import Reason, SettingsError

PREFIX = "NODOGRAM_"
# Read by other commands, and by the test suite.
FOREIGN_VARIABLES = frozenset({"NODOGRAM_SHARDS", "NODOGRAM_TOKEN", "NODOGRAM_TEST_DATA"})

# https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
_CGROUP_CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")

Provider = Literal["cpu", "cuda", "tensorrt"]
BATCH_SIZES: dict[Provider, int] = {"cpu": 8, "cuda": 32, "tensorrt": 32}
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]


def _cores() -> int:
    """Cores this process may use: those it is bound to, fewer under a CPU limit of its container (cgroup v2)."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota_us, period_us = _CGROUP_CPU_LIMIT.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return bound
    return bound if quota_us == "max" else max(1, min(bound, round(int(quota_us) / int(period_us))))


def _address(host: str) -> str:
    return str(ipaddress.ip_address("127.0.0.1" if host == "localhost" else host))


class ServerSettings(BaseSettings):
    """Settings of one server; each is the environment variable of its name in capitals after ``NODOGRAM_``.

    Attributes
    ----------
    bundle
        Bundle folder or ``.tar``.
    host
        IP address to listen on. Anything but loopback needs ``token_file`` or ``allow_anonymous``.
    http_port, grpc_port
        TCP ports.
    provider
        Execution provider of the backbone. The server is not ready if another one is in use.
    backbone_threads
        Threads of one backbone call on a CPU. As many calls run side by side as the cores allow.
    maximum_batch_size
        Crops in one backbone call; ``None`` takes 8 on a CPU, which gains nothing from more, and 32 elsewhere.
    maximum_batch_wait_ms
        How long an idle backbone waits for company to the first crop, ms.
    case_workers
        Processes that decode, prepare and measure cases.
    maximum_cases
        Cases accepted at the same time, waiting ones included; more are answered 503 / ``RESOURCE_EXHAUSTED``.
    request_timeout_s
        Longest time for one request, upload included, s; callers may ask for less.
    maximum_upload_bytes
        Of one request.
    maximum_archive_bytes, maximum_archive_files
        Unpacked contents of a zip file.
    maximum_voxels
        Of one image.
    token_file
        ``name:token`` lines; read again when it changes.
    allow_anonymous
        Serve on a public address without tokens.
    tls_certificate, tls_key
        PEM files of the server for both protocols.
    tls_client_ca
        PEM file: clients must then show a certificate of this authority (mutual TLS).
    drain_delay_s
        Time between SIGTERM and the end of accepting, not ready but serving, so that balancers notice, s.
    shutdown_grace_s
        Time for work in flight after that, s.
    drift_window
        Predictions the drift figures look back on.
    log_format
        ``json``, ``console``, or ``auto``: ``console`` on a terminal.
    spool
        Folder for uploads in flight; ``None`` takes the system's. Nothing outlives its request.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    bundle: Path
    host: Annotated[str, AfterValidator(_address)] = "127.0.0.1"
    http_port: Port = 3000
    grpc_port: Port = 3001
    provider: Provider = "cpu"
    backbone_threads: Positive = 1
    maximum_batch_size: Positive | None = None
    maximum_batch_wait_ms: Annotated[float, Field(ge=0)] = 2.0
    case_workers: Positive = Field(default_factory=_cores)
    maximum_cases: Positive = 64
    request_timeout_s: Seconds = 60.0
    maximum_upload_bytes: Positive = 2**30
    maximum_archive_bytes: Positive = 2**31
    maximum_archive_files: Positive = 4096
    maximum_voxels: Positive = 2**28
    token_file: Path | None = None
    allow_anonymous: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    drain_delay_s: Annotated[float, Field(ge=0)] = 0.0
    shutdown_grace_s: Seconds = 60.0
    drift_window: Positive = 500
    log_format: Literal["auto", "json", "console"] = "auto"
    spool: Path | None = None

    @property
    def backbone_calls(self) -> int:
        """Backbone calls at the same time: one on a GPU, which a second one would only share."""
        return max(1, _cores() // self.backbone_threads) if self.provider == "cpu" else 1

    @property
    def batch_size(self) -> int:
        """Most crops in one backbone call."""
        return self.maximum_batch_size or BATCH_SIZES[self.provider]

    @model_validator(mode="after")
    def _consistent(self) -> ServerSettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key are required together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        if not ipaddress.ip_address(self.host).is_loopback and self.token_file is None and not self.allow_anonymous:
            raise ValueError(
                f"host {self.host} can be reached from outside: token_file is required, or allow_anonymous=true for everyone"
            )
        return self


def read_settings() -> ServerSettings:
    """Read the environment.

    Raises
    ------
    SettingsError
        ``SETTINGS_INVALID`` naming the variable; an unknown ``NODOGRAM_*`` variable is one.
    """
    known = {f"{PREFIX}{name.upper()}" for name in ServerSettings.model_fields} | FOREIGN_VARIABLES
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name.upper() not in known)
    if unknown:
        meant = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"is {meant[0]} meant?" if meant else f"known are {', '.join(sorted(known - FOREIGN_VARIABLES))}"
        raise SettingsError(Reason.SETTINGS_INVALID, f"environment variable {unknown[0]} is unknown; {hint}")
    try:
        return ServerSettings.model_validate({})
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{PREFIX}{'_'.join(str(part) for part in first['loc'])}".upper() if first["loc"] else "settings"
        raise SettingsError(Reason.SETTINGS_INVALID, f"{name}: {first['msg'].removeprefix('Value error, ')}") from error
