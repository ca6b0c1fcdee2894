"""How a training Job ended, and what it left: its result, or the reason why the data or a check said no."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.errors import REFUSED, USAGE, Reason, exit_code_of
from deploy.kinds import Condition, Job, Pod
from deploy.pending import explain_end

_REASON_LINE = re.compile(r"^([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*) (.+)$")

State = Literal["submitted", "done", "refused", "failed"]


class TrainingResult(BaseModel):
    """What ``nodogram train`` writes as its termination message.

    Keys of later versions are ignored: a client that is older than the image must not lose a result over them.

    Attributes
    ----------
    bundle_digest
        SHA-256, as ``nodogram bundle verify`` prints it.
    bundle, run
        Folders as the pod saw them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    bundle_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    bundle: str = ""
    run: str = ""


@dataclass(frozen=True)
class TrainingRefusal:
    """Why training would not go on; ``reason`` is one of ``nodogram.errors``."""

    reason: str
    message: str


@dataclass(frozen=True)
class JobOutcome:
    """How a Job stands or ended.

    Attributes
    ----------
    reason, message
        Set unless it is done.
    exit_code
        Of the command that followed it: 0 done, 1 the data or a check says no, 2 wrong arguments, 3 the cluster failed it.
    pods
        Name and end of every pod there was.
    """

    job: str
    state: State
    exit_code: int
    reason: Reason | None = None
    message: str = ""
    result: TrainingResult | None = None
    refusal: TrainingRefusal | None = None
    started: datetime | None = None
    ended: datetime | None = None
    pods: tuple[tuple[str, str], ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "job": self.job,
            "state": self.state,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "message": self.message,
            "result": None if self.result is None else self.result.model_dump(),
            "refusal": None if self.refusal is None else vars(self.refusal),
            "started": None if self.started is None else self.started.isoformat(),
            "ended": None if self.ended is None else self.ended.isoformat(),
            "pods": [{"name": name, "end": end} for name, end in self.pods],
        }


def outcome_of(job: Job, pods: Sequence[Pod]) -> JobOutcome | None:
    """Return how a Job ended, or ``None`` if it goes on.

    Parameters
    ----------
    pods
        Of the Job; those already cleaned away are missed only for the words.
    """
    ending = job.ending
    if ending is None:
        return None
    ended_pods = sorted((p for p in pods if p.has_ended), key=_end_time)
    outcome = _ending(job.metadata.name, ending, ended_pods)
    return replace(
        outcome,
        started=job.status.start_time,
        ended=job.status.completion_time or ending.last_transition_time,
        pods=tuple((p.metadata.name, explain_end(p)) for p in ended_pods),
    )


def _ending(name: str, ending: Condition, pods: Sequence[Pod]) -> JobOutcome:
    if ending.type == "Complete":
        succeeded = [p for p in pods if p.status.phase == "Succeeded"]
        return JobOutcome(name, "done", 0, result=_result(succeeded[-1]) if succeeded else None)
    if ending.reason == "DeadlineExceeded":
        reason, words = Reason.JOB_DEADLINE_EXCEEDED, "it ran longer than activeDeadlineSeconds of the chart allows"
        return JobOutcome(name, "failed", exit_code_of(reason), reason, words)
    last = pods[-1] if pods else None
    code = last.main_ending.exit_code if last is not None and last.main_ending is not None else None
    if last is not None and code in (REFUSED, USAGE):
        refusal = _refusal(last)
        words = f"{refusal.reason} {refusal.message}" if refusal is not None else f"exit code {code}; its log says why"
        return JobOutcome(name, "refused", code, Reason.TRAINING_REFUSED, words, refusal=refusal)
    end = "no pod is left to ask" if last is None else f"the last pod, {last.metadata.name}: {explain_end(last)}"
    words = f"{ending.message or ending.reason}; {end}"
    return JobOutcome(name, "failed", exit_code_of(Reason.JOB_FAILED), Reason.JOB_FAILED, words)


def _end_time(pod: Pod) -> tuple[float, str]:
    ending = pod.main_ending
    moment = (ending.finished_at if ending is not None else None) or pod.status.start_time or pod.metadata.creation_timestamp
    return (0.0 if moment is None else moment.timestamp(), pod.metadata.name)


def _result(pod: Pod) -> TrainingResult | None:
    ending = pod.main_ending
    try:
        return None if ending is None else TrainingResult.model_validate_json(ending.message)
    except ValidationError:
        return None


def _refusal(pod: Pod) -> TrainingRefusal | None:
    """Read the last line ``REASON message`` of the termination message, which is the end of the log where none was written."""
    ending = pod.main_ending
    for line in reversed((ending.message if ending is not None else "").splitlines()):
        if match := _REASON_LINE.match(line.strip()):
            return TrainingRefusal(match[1], match[2])
    return None
