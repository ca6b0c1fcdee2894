"""The training chart: what is run, how it ends, and where it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from helm import Manifest, RefusedError, render, render_text
from scenarios import SERVING, TRAINING, manifests, merged, pick, scenario
from typer.testing import CliRunner

from nodogram.cli import main

SHARDS = "extract"


def objects(name: str, **more: Any) -> tuple[Manifest, ...]:
    return render(TRAINING, merged(scenario(TRAINING, name).values(), more))


def job(name: str, component: str = "train", **more: Any) -> dict[str, Any]:
    return pick(
        objects(name, **more), "Job", lambda m: m.object["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )


def pod(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["spec"]["template"]["spec"]
    return spec


def arguments(document: dict[str, Any]) -> list[str]:
    container = pod(document)["containers"][0]
    assert "command" not in container  # the entry point of the image hands signals on
    found: list[str] = container["args"]
    return found


def test_a_training_always_continues() -> None:
    assert arguments(job("job")) == [
        "train", "--cohort", "/cohort", "--recipe", "sound", "--out", "/run", "--resume", "--jobs", "4",
    ]  # fmt: skip
    assert arguments(job("job-gpu"))[-6:] == ["--resume", "--jobs", "6", "--strict", "--cache", "/cache"]


@pytest.mark.parametrize(
    ("resources", "jobs"),
    [
        ({"requests": {"cpu": 8}}, "8"),
        ({"requests": {"cpu": "2500m"}}, "2"),
        ({"requests": {"cpu": "500m"}}, "1"),
        ({"requests": {"cpu": "2"}, "limits": {"cpu": "6"}}, "6"),
        ({"requests": {"cpu": "1.5"}}, "1"),
    ],
)
def test_as_many_processes_as_cpus(resources: dict[str, Any], jobs: str) -> None:
    found = arguments(job("job", resources=resources))
    assert found[found.index("--jobs") + 1] == jobs


def test_disruption_is_ignored_and_wrong_data_ends_at_once() -> None:
    for document, action in (
        (job("job"), "FailJob"),
        (job("extraction", SHARDS), "FailIndex"),
        (job("extraction", "merge"), "FailJob"),
    ):
        first, second = document["spec"]["podFailurePolicy"]["rules"]
        assert first == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        container = pod(document)["containers"][0]["name"]
        assert second == {"action": action, "onExitCodes": {"containerName": container, "operator": "In", "values": [1, 2]}}
        assert pod(document)["restartPolicy"] == "Never"
        assert document["spec"]["podReplacementPolicy"] == "Failed"


def test_exit_statuses_are_those_the_policy_is_written_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 for data that are not there, 2 for usage: asked of the command itself."""
    statuses = []
    for option in ("--strict", "--no-such-option"):
        monkeypatch.setattr("sys.argv", ["nodogram", "extract", "--cohort", str(tmp_path), "--out", str(tmp_path), option])
        with pytest.raises(SystemExit) as ended:
            main()
        statuses.append(ended.value.code)
    rule = job("extraction", SHARDS)["spec"]["podFailurePolicy"]["rules"][1]
    assert statuses == rule["onExitCodes"]["values"]


def test_limits_of_time_and_retries() -> None:
    spec = job("job")["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (3, 172800, 604800)
    assert "ttlSecondsAfterFinished" not in job("job-gpu")["spec"]


def test_an_unchanged_run_is_the_same_job_and_a_changed_one_another() -> None:
    def name(**more: Any) -> str:
        return str(job("job", **more)["metadata"]["name"])

    assert name() == name()
    assert name() == name(networkPolicy={"enabled": False})
    assert len({name(), name(recipe={"name": "paper"}), name(resources={"requests": {"cpu": "8"}}), name(jobs=2)}) == 4
    assert job("job-gpu")["metadata"]["name"] == "lnm-nodogram-training-lscc-7"


def test_every_run_has_its_folder() -> None:
    """Retries of one Job share it, and no two Jobs do, however they are made."""
    for document in (job("job"), pick(objects("cronjob"), "CronJob")["spec"]["jobTemplate"]):
        container = pod(document)["containers"][0]
        (mount,) = (m for m in container["volumeMounts"] if m["mountPath"] == "/run")
        assert mount["subPathExpr"] == "$(JOB_NAME)"
        (variable,) = (v for v in container["env"] if v["name"] == "JOB_NAME")
        assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"


def test_the_cron_job_is_always_there_and_runs_where_it_is_asked_to() -> None:
    suspended = {
        name: pick(objects(name), "CronJob")["spec"]["suspend"] for name in ("template", "job", "cronjob", "extraction")
    }
    assert suspended == {"template": True, "job": True, "cronjob": False, "extraction": True}
    assert pick(objects("cronjob-suspended"), "CronJob")["spec"]["suspend"] is True
    spec = pick(objects("cronjob"), "CronJob")["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("30 1 1 * *", "Europe/Berlin", "Forbid")
    assert (spec["startingDeadlineSeconds"], spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3600, 6, 3)


def test_the_job_is_what_the_cron_job_would_make() -> None:
    found = objects("job")
    assert pick(found, "Job")["spec"] == pick(found, "CronJob")["spec"]["jobTemplate"]["spec"]


def test_shards_know_their_number_and_the_merge_their_count() -> None:
    shards, merge = job("extraction", SHARDS), job("extraction", "merge")
    spec = shards["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 64, 16)
    assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"]) == (2, 3)
    assert {"name": "NODOGRAM_SHARDS", "value": "64"} in pod(shards)["containers"][0]["env"]
    assert arguments(shards) == ["extract", "--cohort", "/cohort", "--settings", "sound", "--out", "/features", "--jobs", "8"]
    assert arguments(merge) == ["extract", "--merge", "--cohort", "/cohort", "--out", "/features", "--shard-count", "64"]
    mounts = [m for d in (shards, merge) for m in pod(d)["containers"][0]["volumeMounts"] if m["mountPath"] == "/features"]
    assert mounts[0] == mounts[1] == {"name": "output", "mountPath": "/features", "subPath": shards["metadata"]["name"]}


def test_the_merge_waits_as_long_as_the_shards_may_take() -> None:
    shards, merge = job("extraction", SHARDS), job("extraction", "merge")
    (wait,) = pod(merge)["initContainers"]
    given = dict(zip(wait["command"], wait["command"][1:], strict=False))
    assert given["--shards"] == "64"
    assert int(given["--timeout-s"]) == shards["spec"]["activeDeadlineSeconds"] < merge["spec"]["activeDeadlineSeconds"]


def test_the_options_are_those_of_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option the chart gives is one the command knows."""
    from training.cli import train
    from training.extract_cli import extract

    for command, document in (
        (train, job("job-gpu")),
        (extract, job("extraction", SHARDS)),
        (extract, job("extraction", "merge")),
    ):
        app = typer.Typer(add_completion=False)
        app.command()(command)
        text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).output
        assert all(option in text for option in arguments(document) if option.startswith("--")), arguments(document)


def test_a_recipe_of_ones_own_is_mounted_and_never_changes_under_a_run() -> None:
    found = objects("job-gpu")
    config_map = pick(found, "ConfigMap")
    assert config_map["immutable"] is True
    assert config_map["data"] == {"recipe.toml": 'name = "mine"\n'}
    document = pick(found, "Job")
    assert {"name": "recipe", "configMap": {"name": config_map["metadata"]["name"]}} in pod(document)["volumes"]
    assert "/recipe/recipe.toml" in arguments(document)
    other = pick(objects("job-gpu", recipe={"toml": 'name = "other"\n'}), "ConfigMap")
    assert other["metadata"]["name"] != config_map["metadata"]["name"]


def test_shared_memory_is_memory() -> None:
    volumes = {v["name"]: v for v in pod(job("job"))["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "4Gi"}
    assert {"name": "shm", "mountPath": "/dev/shm"} in pod(job("job"))["containers"][0]["volumeMounts"]  # noqa: S108


def test_gpus_are_for_trainings_alone() -> None:
    assert pod(job("job-gpu"))["containers"][0]["resources"]["limits"]["nvidia.com/mig-3g.40gb"] == 1
    for component in (SHARDS, "merge"):
        limits = pod(job("extraction", component, gpu={"enabled": True}))["containers"][0]["resources"]["limits"]
        assert set(limits) == {"memory"}
    assert pod(job("job-gpu-claims"))["containers"][0]["resources"]["claims"] == [{"name": "gpu"}]


def test_results_outlive_the_release() -> None:
    claim = pick(objects("job"), "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert not [m for m in objects("job-gpu") if m.kind == "PersistentVolumeClaim"]


def test_a_queued_job_is_made_suspended() -> None:
    shards, merge = job("extraction-queued", SHARDS), job("extraction-queued", "merge")
    assert shards["spec"]["suspend"] is True
    assert shards["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "cpus"
    # The merge waits and would keep its place in the queue from the shards.
    assert "suspend" not in merge["spec"]
    assert "kueue.x-k8s.io/queue-name" not in merge["metadata"]["labels"]
    template = pick(objects("cronjob-suspended"), "CronJob")["spec"]["jobTemplate"]
    assert template["spec"]["suspend"] is True
    assert template["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "background"


def test_only_the_promotion_has_rights_and_only_to_two_objects() -> None:
    found = objects("cronjob")
    role, binding = pick(found, "Role"), pick(found, "RoleBinding")
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "clinic"
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": ["lnm-nodogram-serving-bundle"],
            "verbs": ["get", "patch"],
        },
        {
            "apiGroups": ["apps"],
            "resources": ["deployments"],
            "resourceNames": ["lnm-nodogram-serving"],
            "verbs": ["get", "patch"],
        },
    ]
    accounts = [s["name"] for s in binding["subjects"] if s["kind"] == "ServiceAccount"]
    assert accounts == ["lnm-nodogram-training-promotion"]
    runs = pod(pick(found, "CronJob")["spec"]["jobTemplate"])["serviceAccountName"]
    assert runs == "lnm-nodogram-training"
    assert not [m for m in objects("job") if m.kind in {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}]


def test_the_promotion_names_what_the_serving_chart_makes() -> None:
    made = {(m.kind, m.name) for m in manifests(scenario(SERVING, "cpu-minimal"))}
    rules = pick(objects("cronjob"), "Role")["rules"]
    named = {
        ({"configmaps": "ConfigMap", "deployments": "Deployment"}[r["resources"][0]], r["resourceNames"][0]) for r in rules
    }
    assert named <= made


def test_nothing_is_let_out_but_what_is_named() -> None:
    policy = pick(objects("job"), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert "egress" not in policy
    (rule,) = pick(objects("job-gpu"), "NetworkPolicy")["spec"]["egress"]
    assert rule["ports"] == [{"port": 5000, "protocol": "TCP"}]


def test_the_name_of_a_job_is_never_too_long() -> None:
    values = merged(scenario(TRAINING, "extraction").values(), {"run": "0123456789abcdef"})
    with pytest.raises(RefusedError, match="at most 57 are allowed: shorten the name of the release or of the run"):
        render(TRAINING, values, release="a-long-name-of-a-release")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("job", "/bundle on the claim lnm-nodogram-training-runs"),
        ("cronjob", "30 1 1 * * Europe/Berlin"),
        ("cronjob-suspended", "@monthly Etc/UTC, suspended now"),
        ("extraction", "64 shards, 16 at a time"),
        ("template", "nodogram deploy train --release lnm --namespace clinic"),
    ],
)
def test_the_notes_say_what_runs(name: str, text: str) -> None:
    notes = render_text(TRAINING, scenario(TRAINING, name).values())["templates/NOTES.txt"]
    assert text in notes
    assert "needs to be on one node" not in notes
