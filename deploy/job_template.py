"""From the Job template that the training chart installed to the manifest of one Job.

The chart's CronJob is the only place where the training pod is described. It is installed also where nothing is scheduled (then
suspended), and a Job made of it by hand is what ``kubectl create job --from=cronjob/NAME`` makes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.errors import JobError, Reason
from deploy.kinds import CronJob

CHART = "nodogram-training"
DIGEST_ANNOTATION = "nodogram.io/job-digest"
# Pods append a hyphen and five characters, and may have 63 as host names.
LONGEST_NAME = 57
KEY_LENGTH = 10


@dataclass(frozen=True)
class TrainingRequest:
    """What a training run differs in from the chart's template.

    Attributes
    ----------
    run
        Name of the run; ``None`` derives one from everything else, so that the same request is the same Job.
    recipe, cohort
        Replace the template's options ``--recipe`` and ``--cohort``.
    environment
        Variables to set or replace.
    """

    run: str | None = None
    recipe: str | None = None
    cohort: str | None = None
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class JobManifest:
    """A Job to be created.

    Attributes
    ----------
    digest
        SHA-256 of everything that decides what the Job does.
    document
        What is sent to the API server.
    """

    name: str
    digest: str
    document: Mapping[str, Any]


def template_name(release: str) -> str:
    """Return the name of the CronJob that a release of the training chart installs."""
    return f"{release}-{CHART}"


def job_manifest(template: CronJob, request: TrainingRequest) -> JobManifest:
    """Return the Job that a CronJob's template and a request make.

    Raises
    ------
    JobError
        ``TEMPLATE_INVALID`` if the template has no container or the name is no name of a Job.
    """
    job = copy.deepcopy(template.spec.job_template)
    containers = job.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    if not containers:
        raise JobError(Reason.TEMPLATE_INVALID, f"CronJob {template.metadata.name} has a template without a container")
    container = containers[0]
    arguments = list(container.get("args", []))
    for option, value in (("--recipe", request.recipe), ("--cohort", request.cohort)):
        if value is not None:
            arguments = with_option(arguments, option, value)
    container["args"] = arguments
    container["env"] = with_variables(container.get("env", []), request.environment)
    if not container["env"]:
        del container["env"]
    digest = hashlib.sha256(json.dumps(job, sort_keys=True).encode()).hexdigest()
    name = _name(template.metadata.name, request.run or digest[:KEY_LENGTH])
    found = job.get("metadata", {})
    annotations = {**found.get("annotations", {}), "cronjob.kubernetes.io/instantiate": "manual", DIGEST_ANNOTATION: digest}
    metadata = {"name": name, "labels": found.get("labels", {}), "annotations": annotations}
    document = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job["spec"]}
    return JobManifest(name, digest, document)


def with_option(arguments: Sequence[str], option: str, value: str) -> list[str]:
    """Return command-line arguments with an option set: replaced where it stands, else appended."""
    changed = list(arguments)
    for index, argument in enumerate(changed):
        if argument == option and index + 1 < len(changed):
            changed[index + 1] = value
            return changed
        if argument.startswith(f"{option}="):
            changed[index] = f"{option}={value}"
            return changed
    return [*changed, option, value]


def with_variables(environment: Sequence[Mapping[str, Any]], variables: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the environment of a container with variables set: replaced where they stand, else appended."""
    given = dict(variables)
    kept = [{"name": v["name"], "value": given.pop(v["name"])} if v["name"] in given else dict(v) for v in environment]
    return [*kept, *({"name": name, "value": value} for name, value in given.items())]


def _name(prefix: str, key: str) -> str:
    name = f"{prefix}-{key}"
    if len(name) > LONGEST_NAME or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
        raise JobError(
            Reason.TEMPLATE_INVALID,
            f"{name!r} cannot be the name of a Job: at most {LONGEST_NAME} lower-case letters, digits and hyphens are required",
        )
    return name
