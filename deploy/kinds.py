"""The parts of Kubernetes objects this client reads, as frozen types; what is not named here is none of its business.

Field names are those of the API (https://kubernetes.io/docs/reference/kubernetes-api/) in snake case. Unknown fields are
ignored, because every minor release of Kubernetes adds some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
NAME_LABEL = "app.kubernetes.io/name"


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        # The API writes an absent list or object as null as well as not at all.
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, Mapping) else value


class Metadata(_View):
    """Identity of an object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Object(_View):
    """Any object."""

    metadata: Metadata = Metadata()


class Condition(_View):
    """One condition of a Job, Pod or Deployment."""

    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None

    @property
    def is_true(self) -> bool:
        """Whether it holds."""
        return self.status == "True"


def condition(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """Return the condition of a type, whatever its status."""
    return next((c for c in conditions if c.type == kind), None)


class JobSpec(_View):
    """What was asked of a Job."""

    suspend: bool = False
    backoff_limit: int = 6
    active_deadline_seconds: int | None = None


class JobStatus(_View):
    """What became of a Job."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    conditions: tuple[Condition, ...] = ()


class Job(Object):
    """A ``batch/v1`` Job."""

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    @property
    def ending(self) -> Condition | None:
        """The condition ``Complete`` or ``Failed`` once one of them holds."""
        return next((c for c in self.status.conditions if c.type in ("Complete", "Failed") and c.is_true), None)


class CronJobSpec(_View):
    """Schedule and template; the template is handed on as it is, so it stays a document."""

    schedule: str = ""
    suspend: bool = False
    job_template: dict[str, Any] = {}


class CronJob(Object):
    """A ``batch/v1`` CronJob."""

    spec: CronJobSpec = CronJobSpec()


class Waiting(_View):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class Terminated(_View):
    """How a container ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    finished_at: datetime | None = None


class ContainerState(_View):
    """Exactly one is set."""

    waiting: Waiting | None = None
    running: dict[str, Any] | None = None
    terminated: Terminated | None = None


class ContainerStatus(_View):
    """State of one container of a pod."""

    name: str
    image: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class ResourceRequirements(_View):
    """Quantities as written, such as ``{"nvidia.com/gpu": "1"}``."""

    requests: dict[str, str | int | float] = {}
    limits: dict[str, str | int | float] = {}


class Container(_View):
    """A container as asked for."""

    name: str
    image: str = ""
    resources: ResourceRequirements = ResourceRequirements()


class VolumeClaim(_View):
    """Claim of a volume."""

    claim_name: str


class Volume(_View):
    """A volume of a pod; only claims can keep it waiting."""

    name: str
    persistent_volume_claim: VolumeClaim | None = None


class PodSpec(_View):
    """What was asked of a Pod."""

    containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    node_name: str = ""


class PodStatus(_View):
    """What became of a Pod."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Object):
    """A ``v1`` Pod."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def has_ended(self) -> bool:
        """Whether no container of it will run again."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def has_started(self) -> bool:
        """Whether the main container runs or ran, so that there is a log."""
        states = [s.state for s in self.status.container_statuses]
        return any(s.running is not None or s.terminated is not None for s in states)

    @property
    def main_ending(self) -> Terminated | None:
        """How the first container ended."""
        main = self.spec.containers[0].name if self.spec.containers else ""
        return next((s.state.terminated for s in self.status.container_statuses if s.name == main), None)


class InvolvedObject(_View):
    """What an event is about."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class Event(Object):
    """A ``v1`` Event."""

    type: str = "Normal"
    reason: str = ""
    message: str = ""
    involved_object: InvolvedObject = InvolvedObject()


class ConfigMap(Object):
    """A ``v1`` ConfigMap."""

    data: dict[str, str] = {}


class PodTemplate(_View):
    """Template of the pods of a Deployment."""

    metadata: Metadata = Metadata()


class LabelSelector(_View):
    """Labels every selected pod has."""

    match_labels: dict[str, str] = {}


class DeploymentSpec(_View):
    """What was asked of a Deployment."""

    replicas: int = 1
    paused: bool = False
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()


class DeploymentStatus(_View):
    """How far a Deployment is."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(Object):
    """An ``apps/v1`` Deployment."""

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


_Object = TypeVar("_Object", bound=Object)


class ListMetadata(_View):
    """Where in time a list was taken."""

    resource_version: str = ""


class Listing(_View, Generic[_Object]):
    """Objects of one kind, and the point of time from which changes can be watched."""

    metadata: ListMetadata = Field(default=ListMetadata())
    items: tuple[_Object, ...] = ()


@dataclass(frozen=True)
class Kind(Generic[_Object]):
    """A kind of object.

    Attributes
    ----------
    noun
        As in the names of the official client's methods: ``read_namespaced_NOUN``.
    api
        Class of the official client.
    model
        What is read of it.
    """

    noun: str
    api: str
    model: type[_Object]

    def __str__(self) -> str:
        return self.model.__name__


JOB = Kind("job", "BatchV1Api", Job)
CRON_JOB = Kind("cron_job", "BatchV1Api", CronJob)
POD = Kind("pod", "CoreV1Api", Pod)
EVENT = Kind("event", "CoreV1Api", Event)
CONFIG_MAP = Kind("config_map", "CoreV1Api", ConfigMap)
DEPLOYMENT = Kind("deployment", "AppsV1Api", Deployment)
