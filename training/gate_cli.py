"""``nodogram gate``: judge a retrained bundle, verify the ledger, approve, go back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from training.gate.decision import GateDecision
    from training.gate.ledger import LedgerLine
    from training.gate.rules import RuleResult

gate = typer.Typer(
    help="Decide by rules fixed beforehand whether a retrained bundle replaces the one in use.",
    invoke_without_command=True,
    no_args_is_help=True,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
LedgerArgument = Annotated[Path, typer.Argument(help="The ledger, one signed line per decision.", show_default=False)]
KeyOption = Annotated[Path, typer.Option(help="Ed25519 private key (PEM) that signs.", show_default=False)]
DecisionOption = Annotated[Path | None, typer.Option(help="Also write the decision here, for 'deploy promote --decision'.")]
RegistryOption = Annotated[
    str | None, typer.Option(help="Let the MLflow registry follow the ledger: local, a folder, or a URI.")
]
NoteOption = Annotated[str, typer.Option(help="Why, in words; kept in the ledger.")]

STATUS_MARKS = {
    "passed": "[green]passed[/]",
    "failed": "[bold red]failed[/]",
    "undecidable": "[bold red]undecidable[/]",
    "not_judged": "[dim]not judged[/]",
}
VERDICT_WORDS = {"promoted": "PROMOTED", "refused": "REFUSED", "awaiting_approval": "AWAITING APPROVAL"}


@gate.callback()
def gate_command(
    context: typer.Context,
    champion: Annotated[Path | None, typer.Option(help="Evaluation of the bundle in use.  [required]")] = None,
    challenger: Annotated[Path | None, typer.Option(help="Evaluation of the retrained bundle.  [required]")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The retrained bundle, for its self-test.  [required]")] = None,
    ledger: Annotated[Path | None, typer.Option(help="Ledger to append to; begun if absent.  [required]")] = None,
    key: Annotated[Path | None, typer.Option(help="Ed25519 private key (PEM) that signs.  [required]")] = None,
    plan: Annotated[str, typer.Option(help="default, or a TOML file.")] = "default",
    cohort: Annotated[Path | None, typer.Option(help="The locked test set, where the plan declares subgroups.")] = None,
    evaluation_key: Annotated[Path | None, typer.Option(help="Public key (PEM) both evaluations must be signed with.")] = None,
    decision: DecisionOption = None,
    registry: RegistryOption = None,
    uri: Annotated[str | None, typer.Option(help="Where the retrained bundle can be fetched, for the registry.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a retrained bundle against the one in use, both evaluated on the locked test set; exit 0 only if promoted."""
    if context.invoked_subcommand is not None:
        return
    given = {"--champion": champion, "--challenger": challenger, "--bundle": bundle, "--ledger": ledger, "--key": key}
    if champion is None or challenger is None or bundle is None or ledger is None or key is None:
        missing = ", ".join(name for name, value in given.items() if value is None)
        raise typer.BadParameter("a decision needs it", param_hint=missing)
    from training.external.signature import read_private_key, read_public_key
    from training.gate.plan import load_plan
    from training.gate.run import GateInputs, run_gate

    expected = None if evaluation_key is None else read_public_key(evaluation_key)
    inputs = GateInputs(champion, challenger, bundle, cohort, expected)
    line = run_gate(inputs, load_plan(plan), ledger, read_private_key(key))
    _finish(ledger, line, decision, registry, uri, as_json=as_json)


@gate.command("approve")
def approve_command(
    ledger: LedgerArgument,
    key: KeyOption,
    decision_digest: Annotated[str | None, typer.Option("--digest", help="Of the decision, or its beginning.")] = None,
    reject: Annotated[bool, typer.Option("--reject", help="Say no.")] = False,
    note: NoteOption = "",
    decision: DecisionOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Confirm, or reject, a decision that waits for a person; exit 0 only if promoted."""
    from training.external.signature import read_private_key
    from training.gate.run import approve

    line = approve(ledger, read_private_key(key), decision=decision_digest, reject=reject, note=note)
    _finish(ledger, line, decision, registry, None, as_json=as_json)


@gate.command("rollback")
def rollback_command(
    ledger: LedgerArgument,
    key: KeyOption,
    note: NoteOption = "",
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record the return to the champion before the present one; what is served is changed by 'deploy rollback'."""
    from training.external.signature import read_private_key
    from training.gate.ledger import roll_back

    line = roll_back(ledger, read_private_key(key), note)
    if as_json:
        typer.echo(line.text)
    else:
        event = line.entry.event.model_dump()
        Console().print(f"champion {event['returned_to']}, before {event['left']}", highlight=False, soft_wrap=True)
    _follow(ledger, registry)


@gate.command("verify")
def verify_command(
    ledger: LedgerArgument,
    public_key: Annotated[
        list[Path] | None, typer.Option(help="Ed25519 public key (PEM) that may decide; repeat for each.")
    ] = None,
    head: Annotated[str | None, typer.Option(help="SHA-256 of the last line, known from elsewhere.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every signature and every link of a ledger; exit 1 if anything was changed."""
    from training.external.signature import read_public_key
    from training.gate.ledger_check import check_ledger

    found = check_ledger(ledger, [read_public_key(path) for path in public_key or []], head)
    if as_json:
        document = {
            "whole": found.is_whole,
            "problem": found.problem,
            "lines": found.line_count,
            "head": found.state.head,
            "champion": found.state.champion,
            "former": found.state.former,
            "pending": [name for name, _ in found.state.pending],
            "key_fingerprints": found.keys,
        }
        typer.echo(json.dumps(document, indent=1))
    else:
        console = Console()
        text = found.problem or f"{found.line_count} lines, each signed and in its place"
        console.print(f"{'[green]✓[/]' if found.is_whole else '[bold red]✗[/]'} {text}", highlight=False, soft_wrap=True)
        if found.is_whole:
            for name, value in (("champion", found.state.champion), ("before", found.state.former), ("head", found.state.head)):
                console.print(f"{name:<9} {value or '–'}", highlight=False, soft_wrap=True)
            for name in found.keys:
                console.print(f"key       {name}", highlight=False, soft_wrap=True)
    if not found.is_whole:
        raise typer.Exit(1)


def _finish(
    ledger: Path, line: LedgerLine, decision: Path | None, registry: str | None, uri: str | None, *, as_json: bool
) -> None:
    from training.atomic_file import write_atomically
    from training.gate.decision import GateApproval, GateDecision
    from training.gate.run import decision_file

    event = line.entry.event
    if not isinstance(event, GateDecision | GateApproval):
        raise AssertionError("a decision or an approval is finished")
    if decision is not None:
        write_atomically(decision, decision_file(ledger, line))
    if as_json:
        typer.echo(line.text)
    else:
        console = Console()
        if isinstance(event, GateDecision):
            print_decision(event, console)
        color = "green" if event.verdict == "promoted" else "bold red"
        console.print(f"[{color}]{VERDICT_WORDS[event.verdict]}[/]  line {line.entry.sequence}, {line.digest}", soft_wrap=True)
    challenger = event.challenger.digest if isinstance(event, GateDecision) else event.challenger
    # Last: the decision stands in the ledger, whatever the registry says.
    _follow(ledger, registry, None if uri is None else (challenger, uri))
    if event.verdict != "promoted":
        raise typer.Exit(1)


def _follow(ledger: Path, registry: str | None, place: tuple[str, str] | None = None) -> None:
    """Let the registry follow the ledger; ``place`` is the digest of a bundle and where it can be fetched."""
    if registry is None:
        return
    from training.gate.ledger import load_state
    from training.registry import BundleRegistry
    from training.tracking import TrackingStore, tracking_client

    with tracking_client(TrackingStore.at(registry)) as client:
        bundles = BundleRegistry(client)
        if place is not None:
            bundles.register(*place)
        bundles.follow(load_state(ledger))


def print_decision(decision: GateDecision, console: Console) -> None:
    """Print every rule, what every reader must see, and what stands in the way."""
    console.print(rule_table(decision.rules))
    for warning in decision.warnings:
        console.print(f"[yellow]![/] {escape(warning)}", highlight=False)
    for failure in decision.failures:
        console.print(f"[bold red]✗[/] {escape(failure.text)}", highlight=False)


def rule_table(rules: tuple[RuleResult, ...]) -> Table:
    """Return the rules as a table: figure with interval, what is required, what follows."""
    from training.report import formatting

    table = Table(header_style="bold")
    for heading in ("rule", "found", "required", ""):
        table.add_column(heading, justify="left")
    for rule in rules:
        name = rule.rule.replace("_", " ") + (f": {escape(rule.subject)}" if rule.subject else "")
        decimals = 0 if rule.rule == "sample_size" else 3
        table.add_row(name, formatting.interval(rule, decimals), required(rule), STATUS_MARKS[rule.status])
    return table


def required(rule: RuleResult) -> str:
    """Return what a rule requires, in few words."""
    what = rule.judged.replace("_", " ")
    if rule.limit_low is not None and rule.limit_high is not None:
        return f"{what} between {rule.limit_low:g} and {rule.limit_high:g}"
    if rule.limit_high is not None:
        return f"{what} at most {rule.limit_high:g}"
    if rule.limit_low is None:
        return ""
    return f"{what} {'above' if rule.judged == 'lower_bound' else 'at least'} {rule.limit_low:g}"
