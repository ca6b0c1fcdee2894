"""The Job that a template and a request make."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.errors import JobError, Reason
from deploy.job_template import TrainingRequest, job_manifest, with_option, with_variables
from deploy.kinds import CronJob


def template(name: str = "night-nodogram-training", **container: Any) -> CronJob:
    found = {"name": "train", "image": "r/train:1", "args": ["train", "--recipe", "sound", "--out", "/run"], **container}
    job = {"metadata": {"labels": {"a": "b"}}, "spec": {"backoffLimit": 3, "template": {"spec": {"containers": [found]}}}}
    return CronJob.model_validate({"metadata": {"name": name}, "spec": {"jobTemplate": job}})


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (["train", "--recipe", "sound", "--x"], ["train", "--recipe", "paper", "--x"]),
        (["train", "--recipe=sound"], ["train", "--recipe=paper"]),
        (["train"], ["train", "--recipe", "paper"]),
        (["train", "--recipe"], ["train", "--recipe", "--recipe", "paper"]),
    ],
)
def test_an_option_is_replaced_where_it_stands(arguments: list[str], changed: list[str]) -> None:
    assert with_option(arguments, "--recipe", "paper") == changed


def test_variables_replace_also_those_from_elsewhere() -> None:
    there: list[dict[str, Any]] = [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    assert with_variables(there, [("C", "3"), ("B", "2")]) == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "2"},
        {"name": "C", "value": "3"},
    ]


def test_the_same_request_is_the_same_job_and_any_difference_is_another() -> None:
    requests = [TrainingRequest(), TrainingRequest(recipe="paper"), TrainingRequest(environment=(("A", "1"),))]
    names = {job_manifest(template(), request).name for request in requests}
    names |= {job_manifest(template(image="r/train:2"), TrainingRequest()).name}
    assert len(names) == 4
    assert job_manifest(template(), TrainingRequest()) == job_manifest(template(), TrainingRequest())


def test_the_template_is_kept_but_for_what_is_asked() -> None:
    manifest = job_manifest(template(), TrainingRequest(run="first", recipe="paper"))
    assert manifest.name == "night-nodogram-training-first"
    document = manifest.document
    assert document["metadata"]["labels"] == {"a": "b"}
    assert document["metadata"]["annotations"]["nodogram.io/job-digest"] == manifest.digest
    container = document["spec"]["template"]["spec"]["containers"][0]
    assert container == {"name": "train", "image": "r/train:1", "args": ["train", "--recipe", "paper", "--out", "/run"]}
    assert document["spec"]["backoffLimit"] == 3


@pytest.mark.parametrize("run", ["With Capitals", "-x-", "x" * 40])
def test_a_name_no_job_can_have_is_refused(run: str) -> None:
    with pytest.raises(JobError, match="cannot be the name") as refused:
        job_manifest(template(), TrainingRequest(run=run))
    assert refused.value.reason is Reason.TEMPLATE_INVALID


def test_a_template_without_a_container_is_refused() -> None:
    empty = CronJob.model_validate({"metadata": {"name": "x"}, "spec": {"jobTemplate": {"spec": {}}}})
    with pytest.raises(JobError, match="without a container"):
        job_manifest(empty, TrainingRequest())
