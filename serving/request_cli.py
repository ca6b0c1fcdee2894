"""``nodogram request``: one case to a running server, from a terminal or a shell script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from nodogram.errors import Reason, ServiceError
from serving.client import Client, RefusedError
from serving.documents import PredictionDocument
from serving.grpc_client import GrpcClient


def request(
    image: Annotated[Path, typer.Option(help="DICOM folder or zip, NIfTI or NRRD of the CT.", exists=True, show_default=False)],
    roi: Annotated[Path, typer.Option(help="Outline: DICOM SEG or RTSTRUCT, NIfTI or NRRD.", exists=True, show_default=False)],
    url: Annotated[str | None, typer.Option(help="Address of the server over HTTP, such as http://127.0.0.1:3000.")] = None,
    grpc: Annotated[str | None, typer.Option(help="Address of the server over gRPC, such as 127.0.0.1:3001.")] = None,
    roi_name: Annotated[str | None, typer.Option(help="Name of the region where the outline file holds several.")] = None,
    clinical: Annotated[
        list[str] | None, typer.Option("--set", metavar="PREDICTOR=VALUE", help="A clinical finding; repeat for each.")
    ] = None,
    token: Annotated[str | None, typer.Option(envvar="NODOGRAM_TOKEN", help="Bearer token.", show_default=False)] = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Longest time to wait, s.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
) -> None:
    """Ask a running server for a prediction, over HTTP (--url) or gRPC (--grpc)."""
    if (url is None) == (grpc is None):
        raise typer.BadParameter("one of --url and --grpc is required")
    findings: dict[str, str | float] = dict(_assignment(pair) for pair in clinical or [])
    try:
        if url is not None:
            with Client(url, token=token, timeout_s=timeout_s) as http_client:
                answer = http_client.predict(image, roi, clinical=findings, roi_name=roi_name)
        else:
            with GrpcClient(grpc or "", token=token, timeout_s=timeout_s) as grpc_client:
                answer = grpc_client.predict(image, roi, clinical=findings, roi_name=roi_name)
    except RefusedError as error:
        known = error.reason in Reason.__members__
        raise ServiceError(Reason(error.reason) if known else Reason.INTERNAL, error.detail) from error
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
    else:
        _print(answer)


def _print(answer: PredictionDocument) -> None:
    console = Console()
    if answer.probability is None:
        console.print("[bold yellow]no probability[/]: a clinical predictor is missing")
    else:
        verdict = "at or above" if answer.is_positive else "below"
        console.print(f"[bold]{answer.probability:.1%}[/] {answer.outcome}, {verdict} the threshold of {answer.threshold:.1%}")
    console.print(f"[dim]DLR score {answer.dlr_score.probability:.3f}, bundle {answer.bundle_digest[:12]}[/]", highlight=False)
    for note in answer.notes:
        console.print(f"[yellow]{note.code}[/] {note.message}", highlight=False)


def _assignment(pair: str) -> tuple[str, str]:
    name, separator, value = pair.partition("=")
    if not separator or not name.strip():
        raise typer.BadParameter(f"{pair!r} is not PREDICTOR=VALUE", param_hint="--set")
    return name.strip(), value.strip()
