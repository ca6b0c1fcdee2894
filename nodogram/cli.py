"""The ``nodogram`` command.

``predict``, ``bundle`` and ``demo`` live in the core; every other group is found by entry point, so that a machine
that only predicts needs neither the training nor the serving packages.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from nodogram import __version__
from nodogram.errors import NodogramError, Reason, SurroundingsError

COMMAND_GROUP = "nodogram.commands"
# Which extra brings the packages of a command that is not installed.
EXTRAS = {
    "cohort": "train",
    "plan": "train",
    "train": "train",
    "extract": "train",
    "evaluate": "train",
    "report": "train",
    "gate": "train",
    "track": "track",
    "demo": "train",
    "serve": "serve",
    "request": "serve",
    "deploy": "deploy",
}

CORE_COMMANDS = ("predict", "bundle")

app = typer.Typer(
    name="nodogram",
    help="From a neck CT, a tumor outline and clinical findings to the probability of lymph-node metastasis.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
bundle_app = typer.Typer(help="Verify, show, fetch and compare bundles.", no_args_is_help=True)
app.add_typer(bundle_app, name="bundle")

BundleOption = Annotated[Path, typer.Option("--bundle", help="Bundle folder or .tar.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details to stderr.")] = False,
) -> None:
    """Set up logging for every command; progress and logs go to stderr."""
    if version:
        typer.echo(f"nodogram {__version__}")
        raise typer.Exit
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(
        level=level, format="%(message)s", handlers=[RichHandler(console=Console(stderr=True), show_path=False)]
    )


@app.command("predict")
def predict_command(
    bundle: BundleOption,
    image: Annotated[Path, typer.Option(help="DICOM folder, NIfTI or NRRD of the CT.", show_default=False)],
    roi: Annotated[Path, typer.Option(help="Tumor outline: DICOM SEG or RTSTRUCT, NIfTI or NRRD.", show_default=False)],
    roi_name: Annotated[str | None, typer.Option(help="Name of the region where the outline file holds several.")] = None,
    clinical: Annotated[
        list[str] | None, typer.Option("--set", metavar="PREDICTOR=VALUE", help="A clinical finding; repeat for each.")
    ] = None,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option(help="Folder for prediction.json and the nomogram drawing (SVG, PNG).")] = None,
) -> None:
    """Predict one patient: probability, nomogram points and quality notes."""
    from nodogram import bundle as bundles
    from nodogram.imaging.load import load_case
    from nodogram.predict import predict
    from nodogram.present import prediction_document, render_prediction, write_prediction

    model = bundles.load_bundle(bundle)
    case = load_case(image.name, image, roi, roi_name=roi_name, clinical=_assignments(clinical or []))
    prediction = predict(case, model)
    if out is not None:
        write_prediction(prediction, model, out)
    if as_json:
        typer.echo(json.dumps(prediction_document(prediction), indent=2, ensure_ascii=False))
    else:
        render_prediction(prediction, model, Console(), out)


@bundle_app.command("verify")
def verify_command(bundle: Annotated[Path, typer.Argument(help="Bundle folder or .tar.")], as_json: JsonOption = False) -> None:
    """Recompute everything: digests, versions and the known-answer cases through the full path."""
    from nodogram.bundle import load_bundle
    from nodogram.self_test import reproduce

    model = load_bundle(bundle)
    results = list(reproduce(model))
    if as_json:
        rows = [vars(result) for result in results]
        typer.echo(json.dumps({"digest": model.digest, "files": len(model.manifest.files), "known_answers": rows}, indent=2))
        return
    console = Console()
    console.print(f"[green]✓[/] {len(model.manifest.files)} files match their SHA-256")
    for result in results:
        console.print(
            f"[green]✓[/] known answer {result.name}: probability within {result.probability_difference:.1g}, "
            f"radiomics within {result.radiomics_difference:.1g}"
        )
    console.print(f"bundle [bold]{model.manifest.name}[/] {model.digest}")


@bundle_app.command("show")
def show_command(bundle: Annotated[Path, typer.Argument(help="Bundle folder or .tar.")], as_json: JsonOption = False) -> None:
    """Print what a bundle is: outcome, predictors, formula, thresholds, training summary."""
    from nodogram.bundle import load_bundle
    from nodogram.present import render_bundle

    model = load_bundle(bundle)
    if as_json:
        typer.echo(model.manifest.model_dump_json(indent=2))
    else:
        render_bundle(model, Console())


@bundle_app.command("fetch")
def fetch_command(
    uri: Annotated[str, typer.Argument(help="Path, file://, s3://, gs://, az:// or oci://REGISTRY/REPOSITORY:TAG.")],
    digest: Annotated[str, typer.Option(metavar="SHA256", help="Digest of the bundle, as 'bundle show' says it.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; it appears whole or not at all.", show_default=False)],
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of another bundle.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch a bundle, only if it is the one with this digest; done at once if it is there already."""
    from nodogram.bundle_fetch import fetch_bundle, parse_digest

    try:
        parse_digest(digest)
    except NodogramError as error:
        raise typer.BadParameter(error.message, param_hint="--digest") from error
    fetched = fetch_bundle(uri, digest, out, replace=replace)
    if as_json:
        typer.echo(json.dumps({**vars(fetched), "folder": str(fetched.folder)}, indent=2))
        return
    done = "was there already" if fetched.was_there else "fetched and verified"
    Console().print(
        f"bundle [bold]{escape(fetched.name)}[/] {fetched.digest}: {done}, {escape(str(fetched.folder))}",
        highlight=False,
        soft_wrap=True,
    )


@bundle_app.command("diff")
def diff_command(first: Path, second: Path, as_json: JsonOption = False) -> None:
    """Compare two bundles key by key; exit 1 if they differ in content."""
    from nodogram.bundle import manifest_differences, read_manifest

    differences = manifest_differences(read_manifest(first), read_manifest(second))
    if as_json:
        typer.echo(json.dumps([{"key": k, "first": a, "second": b} for k, a, b in differences], indent=2, default=str))
    else:
        console = Console()
        for key, a, b in differences:
            console.print(f"[bold]{key}[/]\n  - {a}\n  + {b}", highlight=False)
        if not differences:
            console.print("the bundles are the same model")
    if differences:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; exit 0 done, 1 the data or the check says no, 2 usage."""
    for entry in _wanted(sys.argv[1:]):
        _add(entry)
    try:
        app()
    except NodogramError as error:
        _fail(error)


def _wanted(arguments: list[str]) -> list[metadata.EntryPoint]:
    """Return the groups to load: the one that is called, so that no command waits for the others; all where none is named."""
    found = list(metadata.entry_points(group=COMMAND_GROUP))
    called = next((a for a in arguments if not a.startswith("-")), None)
    if called in CORE_COMMANDS:
        return []
    return [entry for entry in found if entry.name == called] or found


def _add(entry: metadata.EntryPoint) -> None:
    try:
        command: Any = entry.load()
    except ModuleNotFoundError as error:
        missing = error.name or "a package"
        app.command(entry.name, help=f"Not installed: needs the extra '{EXTRAS.get(entry.name, 'train')}'.")(
            _refusal(entry.name, missing)
        )
        return
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=entry.name)
    else:
        app.command(entry.name)(command)


def _refusal(name: str, missing: str) -> Callable[[], None]:
    def refuse() -> None:
        raise SurroundingsError(
            Reason.DEPENDENCY_MISSING,
            f"'nodogram {name}' needs {missing}; install it with: pip install 'nodogram[{EXTRAS.get(name, 'train')}]'",
        )

    return refuse


def _assignments(pairs: list[str]) -> dict[str, str | float]:
    values: dict[str, str | float] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.strip():
            raise typer.BadParameter(f"{pair!r} is not PREDICTOR=VALUE", param_hint="--set")
        values[name.strip()] = value.strip()
    return values


def _fail(error: NodogramError) -> None:
    Console(stderr=True).print(f"[bold red]{error.reason}[/] {escape(error.message)}", highlight=False, soft_wrap=True)
    sys.exit(1)
