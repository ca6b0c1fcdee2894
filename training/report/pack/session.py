"""Machine and software of a run: recorded where it ran, because later they cannot be known."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from nodogram import __version__
from nodogram.errors import Reason, TrainingError
from nodogram.settings import Settings
from training.atomic_file import write_atomically
from training.report import formatting
from training.report.tables import ReportTable, TableRow
from training.results import RunResults

SESSION_FILE = "session.json"
GIBIBYTE = 2**30
# What took part in fitting, measuring or writing; others follow from these.
PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "statsmodels",
    "scikit-learn",
    "xgboost",
    "lightgbm",
    "torch",
    "torchvision",
    "onnx",
    "onnxruntime",
    "skl2onnx",
    "onnxmltools",
    "SimpleITK",
    "pyradiomics",
    "PyWavelets",
    "scikit-image",
    "pydicom",
    "highdicom",
    "pydantic",
    "matplotlib",
    "python-docx",
)


class Session(Settings):
    """Where a run ran.

    Attributes
    ----------
    processor
        As the system names it.
    core_count
        Cores this process might use.
    memory_gib
        Of the machine, GiB; ``None`` if the system does not say.
    accelerators
        Names of the GPUs that PyTorch saw.
    thread_variables
        Environment variables that decide how many threads compute, as they were set.
    """

    system: str
    processor: str
    core_count: int
    memory_gib: float | None
    accelerators: tuple[str, ...]
    python: str
    nodogram: str
    packages: tuple[tuple[str, str], ...]
    thread_variables: tuple[tuple[str, str], ...] = ()


def record_session(run: Path) -> Session:
    """Write ``RUN/session.json`` on the machine the run ran on.

    Raises
    ------
    SurroundingsError
        ``OUTPUT_NOT_WRITABLE``.
    """
    session = this_session()
    write_atomically(run / SESSION_FILE, session.model_dump_json(indent=1))
    return session


def load_session(run: Path) -> Session | None:
    """Read ``RUN/session.json``; ``None`` if nobody recorded one.

    Raises
    ------
    TrainingError
        ``RUN_MISMATCH`` if another version wrote it.
    """
    path = run / SESSION_FILE
    if not path.is_file():
        return None
    try:
        return Session.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise TrainingError(Reason.RUN_MISMATCH, f"{path} was written by another version; train again") from error


def this_session() -> Session:
    """Describe this machine and what is installed on it; no host name, no user, no path."""
    return Session(
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        processor=_processor(),
        core_count=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=_memory_gib(),
        accelerators=_accelerators(),
        python=platform.python_version(),
        nodogram=__version__,
        packages=tuple((name, version) for name in PACKAGES if (version := _version(name)) is not None),
        thread_variables=tuple(
            (name, os.environ[name]) for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if name in os.environ
        ),
    )


def session_table(results: RunResults, session: Session | None) -> ReportTable:
    """Lay out where, with what and for how long a run ran, and the digests that tell it from others."""
    rows = [
        ("Run", "Made", results.created),
        ("Run", "Run time of the last start", formatting.duration(results.duration_s)),
        ("Run", "Recipe", results.recipe.name),
        ("Run", "Recipe, SHA-256", results.recipe_digest),
        ("Run", "Split, SHA-256", results.split_digest),
        ("Run", "Bundle, SHA-256", results.bundle_digest),
        ("Run", "Seed", str(results.recipe.seed)),
        ("Run", "Initial weights", results.initial_weights),
        ("Run", "Device of the network", results.device),
        *_machine_rows(session),
        *_software_rows(results, session),
    ]
    return ReportTable(
        "session",
        "Session, hardware and software",
        ("Part", "What", "Value"),
        tuple(TableRow(row) for row in rows),
        group_columns=1,
        text_columns=("Part", "What", "Value"),
    )


def _machine_rows(session: Session | None) -> Sequence[tuple[str, str, str]]:
    if session is None:
        return [("Machine", "Not recorded", f"the run left no {SESSION_FILE}")]
    memory = formatting.UNDEFINED if session.memory_gib is None else f"{session.memory_gib:.0f} GiB"
    return [
        ("Machine", "Operating system", session.system),
        ("Machine", "Processor", session.processor),
        ("Machine", "Cores used", str(session.core_count)),
        ("Machine", "Memory", memory),
        ("Machine", "GPU", ", ".join(session.accelerators) or "none"),
        *(("Machine", name, value) for name, value in session.thread_variables),
    ]


def _software_rows(results: RunResults, session: Session | None) -> Sequence[tuple[str, str, str]]:
    """Return versions; those the run itself wrote down win over those of the session."""
    own = [] if session is None else [("Python", session.python), *session.packages]
    versions = dict(own) | dict(results.software)
    return [("Software", name, version) for name, version in sorted(versions.items(), key=lambda item: item[0].lower())]


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIBIBYTE, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _accelerators() -> tuple[str, ...]:
    import torch  # slow to import, and only a run that has it needs it

    return tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())) if torch.cuda.is_available() else ()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
