"""``nodogram deploy``: train, status, promote, rollback; the official client is imported when a command runs."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from deploy.errors import DeployError, Reason

if TYPE_CHECKING:
    from deploy.cluster import Cluster
    from deploy.job_template import TrainingRequest
    from deploy.outcome import JobOutcome
    from deploy.promote import Promotion

# Told to the command line before anything runs; importing the package would slow down every other command.
if find_spec("kubernetes") is None:
    raise ModuleNotFoundError("No module named 'kubernetes'", name="kubernetes")

INTERRUPTED = 130
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class CodedGroup(TyperGroup):
    """Commands whose expected failures are one line ``REASON message`` and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except DeployError as error:
            Console(stderr=True).print(f"[bold red]{error.reason}[/] {escape(error.message)}", highlight=False, soft_wrap=True)
            raise typer.Exit(error.exit_code) from error


deploy_app = typer.Typer(
    cls=CodedGroup,
    help="Train on a Kubernetes cluster, promote bundles and roll them back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def parse_duration(text: str) -> float:
    """Parse ``90s``, ``30m``, ``12h`` or ``2d`` into seconds.

    Raises
    ------
    typer.BadParameter
        For anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None or float(match[1]) <= 0:
        raise typer.BadParameter(f"{text!r} is no duration; 90s, 30m, 12h or 2d are")
    return float(match[1]) * _UNITS_S[match[2]]


NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace.", show_default="that of the kubeconfig's context")
]
ReleaseOption = Annotated[str, typer.Option("--release", "-r", help="Name the chart was installed under.", show_default=False)]
KubeconfigOption = Annotated[
    Path | None, typer.Option(envvar="KUBECONFIG", help="Kubeconfig file.", show_default="~/.kube/config, or that of the pod")
]
ContextOption = Annotated[str | None, typer.Option(help="Context of the kubeconfig.", show_default="the current one")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
RolloutTimeout = Annotated[float, typer.Option("--timeout", parser=parse_duration, metavar="DURATION", help="For the rollout.")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the new pods are ready.")]


@deploy_app.command("train")
def train_command(
    release: ReleaseOption,
    namespace: NamespaceOption = None,
    run: Annotated[
        str | None, typer.Option(help="Name of the run.", show_default="one made of everything the Job does")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe as the pod sees it.", show_default="the chart's")] = None,
    cohort: Annotated[str | None, typer.Option(help="Folder as the pod sees it.", show_default="the chart's")] = None,
    environment: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="Variable; repeat for each.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Follow the Job to its end.")] = True,
    rerun: Annotated[bool, typer.Option("--rerun", help="Replace the Job if it has ended; its run is continued.")] = False,
    timeout: Annotated[
        float | None, typer.Option(parser=parse_duration, metavar="DURATION", help="For the whole Job.", show_default="none")
    ] = None,
    pending_timeout: Annotated[
        float | None, typer.Option(parser=parse_duration, metavar="DURATION", help="Until a pod starts.", show_default="none")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for job.log and outcome.json.")] = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """Submit the training Job of an installed chart and follow it; the same command again follows the same Job."""
    from deploy.job_template import TrainingRequest
    from deploy.jobs import Limits
    from deploy.terminal import print_outcome

    request = TrainingRequest(run, recipe, cohort, _variables(environment or []))
    cluster = _connect(kubeconfig, context, namespace)
    outcome = _train(cluster, release, request, Limits(timeout, pending_timeout), rerun=rerun, follow=follow, out=out)
    if as_json:
        typer.echo(json.dumps(outcome.document(), indent=2, ensure_ascii=False))
    else:
        print_outcome(outcome, Console(stderr=outcome.exit_code != 0))
    raise typer.Exit(outcome.exit_code)


@deploy_app.command("status")
def status_command(
    release: Annotated[str | None, typer.Option("--release", "-r", help="Only this release.", show_default="all")] = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show training Jobs, the bundle served, the one before, and whether the pods are ready."""
    from deploy.status import namespace_status
    from deploy.terminal import print_status

    status = namespace_status(_connect(kubeconfig, context, namespace), release)
    if as_json:
        typer.echo(json.dumps(status.document(), indent=2, ensure_ascii=False))
    else:
        print_status(status, Console())


@deploy_app.command("promote")
def promote_command(
    release: ReleaseOption,
    uri: Annotated[str, typer.Option(help="Where the bundle is: file://, s3://, gs://, az://, oci://.", show_default=False)],
    digest: Annotated[str, typer.Option(help="SHA-256 of the bundle.", show_default=False)],
    namespace: NamespaceOption = None,
    expect_digest: Annotated[str | None, typer.Option(help="Refuse if another bundle than this is served now.")] = None,
    decision: Annotated[Path | None, typer.Option(help="File that records why; its SHA-256 is noted.")] = None,
    decision_key: Annotated[
        list[Path] | None, typer.Option(help="Public key (PEM) of a gate whose decision must allow this.")
    ] = None,
    wait: WaitOption = True,
    timeout: RolloutTimeout = "15m",  # type: ignore[assignment] # parsed like one given
    undo: Annotated[bool, typer.Option("--undo-on-failure", help="Go back to the bundle before if the rollout fails.")] = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a bundle: change what the release serves, replace its pods, wait until they are ready."""
    from deploy.promote import BundleReference, promote

    bundle = BundleReference(uri, digest)
    cluster = _connect(kubeconfig, context, namespace)
    if decision_key:
        expect_digest = _allowed(cluster, release, digest, decision, decision_key) or expect_digest
    promotion = promote(cluster, release, bundle, expected_digest=expect_digest, decision=decision)
    _finish_promotion(cluster, promotion, timeout_s=timeout if wait else None, undo=undo, as_json=as_json)


def _allowed(cluster: Cluster, release: str, digest: str, decision: Path | None, keys: list[Path]) -> str | None:
    """Refuse what no trusted gate decided; return the digest of the bundle it was decided against."""
    from deploy.decision import check_promotable, read_decision
    from deploy.promote import served

    if decision is None:
        raise typer.BadParameter("there must be a decision to check", param_hint="--decision")
    now = served(cluster, release).bundle
    check_promotable(read_decision(decision, keys), digest, None if now is None else now.digest)
    return None if now is None else now.digest


@deploy_app.command("rollback")
def rollback_command(
    release: ReleaseOption,
    namespace: NamespaceOption = None,
    wait: WaitOption = True,
    timeout: RolloutTimeout = "15m",  # type: ignore[assignment] # parsed like one given
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the bundle before the present one again."""
    from deploy.promote import roll_back

    cluster = _connect(kubeconfig, context, namespace)
    promotion = roll_back(cluster, release)
    _finish_promotion(cluster, promotion, timeout_s=timeout if wait else None, undo=False, as_json=as_json)


def _connect(kubeconfig: Path | None, context: str | None, namespace: str | None) -> Cluster:
    from deploy.cluster import connect

    console = Console(stderr=True)
    return connect(kubeconfig, context, namespace, lambda text: console.print(f"[yellow]»[/] {escape(text)}", highlight=False))


def _train(
    cluster: Cluster, release: str, request: TrainingRequest, limits: Any, *, rerun: bool, follow: bool, out: Path | None
) -> JobOutcome:
    from deploy.jobs import follow as follow_job
    from deploy.jobs import submit
    from deploy.narration import Narration
    from deploy.outcome import JobOutcome
    from deploy.run_files import RunFiles

    with Narration(Console(stderr=True)) as narration, RunFiles(out, narration) as listener:
        submission = submit(cluster, release, request, rerun=rerun)
        narration.say(f"Job {submission.name} {'submitted' if submission.is_new else 'was submitted before'}")
        if not follow:
            return JobOutcome(submission.name, "submitted", 0)
        try:
            outcome = follow_job(cluster, submission, listener, limits)
        except KeyboardInterrupt:
            narration.say(f"Job {submission.name} goes on; the same command follows it again")
            raise typer.Exit(INTERRUPTED) from None
        listener.write(outcome)
    return outcome


def _finish_promotion(cluster: Cluster, promotion: Promotion, *, timeout_s: float | None, undo: bool, as_json: bool) -> None:
    from deploy.promote import promote
    from deploy.rollout import await_rollout
    from deploy.terminal import print_promotion

    console = Console(stderr=True)
    if not as_json:
        print_promotion(promotion, console)
    state = None
    if timeout_s is not None:
        try:
            state = await_rollout(
                cluster, promotion.release, promotion.bundle, timeout_s, lambda text: console.print(escape(text))
            )
        except DeployError as error:
            if not undo or promotion.previous is None or error.reason not in (Reason.ROLLOUT_FAILED, Reason.DEADLINE_EXCEEDED):
                raise
            promote(cluster, promotion.release, promotion.previous, expected_digest=promotion.bundle.digest)
            raise type(error)(error.reason, f"{error.message}. The release goes back to {promotion.previous}") from error
    if as_json:
        rollout = None if state is None else vars(state)
        typer.echo(json.dumps({**promotion.document(), "rollout": rollout}, indent=2, ensure_ascii=False))
    elif state is not None:
        console.print(f"[green]✓[/] {state.deployment}: {state.words}", highlight=False)


def _variables(pairs: list[str]) -> tuple[tuple[str, str], ...]:
    variables = []
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--env")
        variables.append((name, value))
    return tuple(variables)
