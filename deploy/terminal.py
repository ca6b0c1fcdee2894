"""Status and outcomes for a reader at a terminal."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.outcome import JobOutcome
from deploy.promote import BundleReference, Promotion
from deploy.status import JobStatus, NamespaceStatus, ServingStatus

_COLORS = {"done": "green", "running": "cyan", "waiting": "yellow", "submitted": "cyan", "refused": "red", "failed": "red"}


def print_outcome(outcome: JobOutcome, console: Console) -> None:
    """Print how a Job ended and what can be done with it."""
    took = "" if outcome.started is None or outcome.ended is None else f" after {_duration(outcome.started, outcome.ended)}"
    console.print(f"Job [bold]{outcome.job}[/] [{_COLORS[outcome.state]}]{outcome.state}[/]{took}", highlight=False)
    if outcome.reason is not None:
        console.print(f"[bold red]{outcome.reason}[/] {escape(outcome.message)}", highlight=False, soft_wrap=True)
    if outcome.result is not None:
        console.print(f"bundle  {outcome.result.bundle_digest}", highlight=False, soft_wrap=True)
        console.print(f"folder  {escape(outcome.result.run)}", highlight=False, soft_wrap=True)
        console.print("next    nodogram deploy promote --uri URI --digest DIGEST, once the gate has agreed", highlight=False)
    elif outcome.state == "done":
        console.print("[yellow]the pod left no result[/]; its run folder holds run.json", highlight=False)


def print_promotion(promotion: Promotion, console: Console) -> None:
    """Print what a promotion did."""
    if promotion.state == "unchanged":
        console.print(f"release {promotion.release} serves {promotion.bundle} already; nothing was changed", highlight=False)
        return
    before = f"; before: {promotion.previous}" if promotion.previous is not None else ""
    console.print(
        f"release {promotion.release} is to serve [bold]{promotion.bundle}[/]{before}", highlight=False, soft_wrap=True
    )


def print_status(status: NamespaceStatus, console: Console) -> None:
    """Print Jobs and releases of a namespace."""
    if not status.jobs and not status.serving:
        console.print(f"nothing of nodogram in namespace {status.namespace}", highlight=False)
    for serving in status.serving:
        _print_serving(serving, console)
    if status.jobs:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("job", "state", "started", "took", "bundle", ""):
            table.add_column(heading, no_wrap=heading != "")
        for job in status.jobs:
            table.add_row(*_job_row(job))
        console.print(table)


def _print_serving(serving: ServingStatus, console: Console) -> None:
    since = f" since {serving.promoted_at}" if serving.promoted_at else ""
    console.print(f"release [bold]{serving.release}[/] serves {_named(serving.bundle)}{since}", highlight=False, soft_wrap=True)
    if serving.previous is not None:
        console.print(f"  before: {serving.previous}", highlight=False, soft_wrap=True)
    for d in serving.deployments:
        color = "green" if d.is_complete else "yellow"
        made_for = "" if d.bundle_digest is None else f", made for {d.bundle_digest[:12]}"
        console.print(f"  {d.name}: [{color}]{escape(d.words)}[/]{made_for}", highlight=False, soft_wrap=True)


def _named(bundle: BundleReference | None) -> str:
    return "no bundle" if bundle is None else str(bundle)


def _job_row(job: JobStatus) -> tuple[str, ...]:
    return (
        job.name,
        f"[{_COLORS[job.state]}]{job.state}[/]",
        "–" if job.started is None else job.started.strftime("%Y-%m-%d %H:%M"),
        "–" if job.started is None or job.ended is None else _duration(job.started, job.ended),
        "–" if job.bundle_digest is None else job.bundle_digest[:12],
        escape(job.words),
    )


def _duration(start: datetime, end: datetime) -> str:
    minutes, seconds = divmod(round((end - start).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
