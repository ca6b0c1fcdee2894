r"""What serving costs, as Markdown on stdout.

python -m benchmarks.serving BUNDLE CACHE [--only backbone,overhead,latency,load,soak] [--seconds 15] > benchmarks/serving.md
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import io
import json
import platform
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median

import httpx

from benchmarks.extraction.report import against_goal, heading, load, processor, say, table
from benchmarks.serving.asking import OK, Answers, by_http, by_region, closed_loop, open_loop
from benchmarks.serving.backbone import CALLERS, bare_loop, through_batcher
from benchmarks.serving.cases import Files, cropped, deep_only, long_series, region
from benchmarks.serving.memory import MemoryWatch
from nodogram.bundle import load_bundle
from serving.config import ServerSettings
from training.demo_serving import RunningServer, running_server

SECTIONS = ("backbone", "overhead", "latency", "load", "soak")
PACKAGES = ("onnxruntime", "bentoml", "fastapi", "uvicorn", "grpcio")
STAGES = ("queue", "decode", "prepare", "radiomics", "backbone", "fuse")
BATCHES = (1, 8, 32)
ROUNDS = 7
# Enough places that none of the callers of a benchmark is refused.
ROOMY = {"NODOGRAM_MAXIMUM_CASES": "256", "NODOGRAM_REQUEST_TIMEOUT_S": "120", "NODOGRAM_LOG_FORMAT": "json"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--soak", type=float, default=600.0, help="seconds at saturation")
    options = parser.parse_args()
    sections = options.only.split(",")
    if unknown := sorted(set(sections) - set(SECTIONS)):
        parser.error(f"--only {', '.join(unknown)}: sections are {', '.join(SECTIONS)}")
    folder: Path = options.cache.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    today = datetime.datetime.now(datetime.UTC).date()
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    say(f"What serving costs, {today}, {processor()}, no GPU, Python {platform.python_version()}, {load()} at the start.")
    say(f"{versions}. Callers and server share the cores: what callers spend is missing from the server's figures.")
    if "backbone" in sections:
        _backbone(options.bundle, folder, options.seconds)
    if "overhead" in sections:
        _overhead(options.bundle, folder, options.seconds)
    if "latency" in sections:
        _latency(options.bundle, folder, options.seconds)
    if "load" in sections:
        _load(options.bundle, folder, options.seconds)
    if "soak" in sections:
        _soak(options.bundle, folder, options.soak)
    say(f"Made by `python -m benchmarks.serving`; {load()} at the end.")


def _backbone(bundle: Path, folder: Path, seconds: float) -> None:
    heading("The network: bare loop, batcher, gRPC")
    deep = deep_only(bundle, folder / "deep")
    message = region(cropped(bundle, folder))
    settings = ServerSettings(bundle=deep)
    model = load_bundle(deep, threads=settings.backbone_threads, spinning=False)
    network = model.backbone
    assert network is not None
    rows = []
    for batch in BATCHES:
        found: dict[str, list[float]] = {"bare": [], "batcher": [], "grpc": [], "size": []}
        with running_server(deep, folder / "server.log", {**ROOMY, "NODOGRAM_MAXIMUM_BATCH_SIZE": str(batch)}) as server:
            # Many short rounds: how fast the machine is changes from one minute to the next, within a round it hardly does.
            for _ in range(ROUNDS):
                found["bare"].append(
                    bare_loop(deep / "backbone.onnx", network.provider, network.input_px, batch, seconds, None)
                )
                found["batcher"].append(
                    through_batcher(network.embed, network.input_px, batch, settings.backbone_calls, seconds)[0]
                )
                before = _metrics(server)
                answers = asyncio.run(_regions(server, message, seconds))
                _expect_only_good(answers)
                found["grpc"].append(answers.rate)
                found["size"].append(_mean_batch(before, _metrics(server)))
        bare, batcher, grpc, size = (median(found[key]) for key in ("bare", "batcher", "grpc", "size"))
        by_round = [[a / b for a, b in zip(found[key], found["bare"], strict=True)] for key in ("batcher", "grpc")]
        rows.append(
            (
                f"{batch}",
                f"{bare:.1f}",
                f"{batcher:.1f}",
                against_goal(median(by_round[0]), 0.95),
                f"{grpc:.1f}",
                f"{size:.1f}",
                against_goal(median(by_round[1]), 0.90),
            )
        )
    table(("batch", "bare loop, images/s", "batcher", "ratio (goal)", "gRPC", "mean batch", "ratio (goal)"), rows)
    say(
        f"{CALLERS} callers; bare is ONNX Runtime in a loop with its default options, gRPC is `PredictRegion` with",
        f"{message.ByteSize() / 1e6:.2f} MB a case and a bundle of the deep branch alone, decoding and resampling included.",
        f"{settings.backbone_calls} calls at once of {settings.backbone_threads} thread where the server makes them.",
        f"{network.provider}, {network.input_px} px; medians of {ROUNDS} rounds of {seconds:g} s, ratios within a round.",
    )


def _overhead(bundle: Path, folder: Path, seconds: float) -> None:
    heading("HTTP: a request without work")
    rows = []
    with running_server(bundle, folder / "server.log", ROOMY) as server:
        document = httpx.get(f"{server.url}/v1/model").json()
        with _bare_starlette(document, folder) as bare:
            for callers in (1, 16):
                ours, theirs = (asyncio.run(_gets(url, callers, seconds / 2)) for url in (f"{server.url}/v1/model", f"{bare}/"))
                for name, found in (("bare Starlette", theirs), ("/v1/model", ours)):
                    rows.append(
                        (name, f"{callers}", *(f"{1000 * found.percentile(p):.2f}" for p in (50, 95, 99)), f"{found.rate:.0f}")
                    )
                rows.append(
                    ("difference", f"{callers}", f"{1000 * (ours.percentile(50) - theirs.percentile(50)):.2f}", "", "", "")
                )
    table(("answer", "callers", "p50, ms", "p95, ms", "p99, ms", "requests/s"), rows)
    say("The same JSON from a Starlette application under uvicorn, without anything around it.")


def _latency(bundle: Path, folder: Path, seconds: float) -> None:
    heading("One case from end to end")
    rows = []
    with running_server(bundle, folder / "server.log", ROOMY) as server:
        for files in (cropped(bundle, folder), long_series(bundle, folder)):
            image, name = (
                (_zipped(files.image), "image.zip") if files.image.is_dir() else (files.image.read_bytes(), files.image.name)
            )
            for callers in (1, 16):
                # A case that takes long needs time enough that the last of all callers is answered a few times.
                answers = asyncio.run(
                    _files(server, files, image, name, callers, seconds if files.image.is_file() else 6 * seconds)
                )
                _expect_only_good(answers)
                stages = [f"{1000 * median(found.get(stage, 0.0) for found in answers.stages):.0f}" for stage in STAGES]
                rows.append(
                    (
                        f"{files.name}, {len(image) / 1e6:.1f} MB",
                        f"{callers}",
                        *(f"{answers.percentile(p):.3f}" for p in (50, 95, 99)),
                        f"{answers.rate:.2f}",
                        *stages,
                    )
                )
    table(("case", "callers", "p50, s", "p95, s", "p99, s", "cases/s", *(f"{stage}, ms" for stage in STAGES)), rows)
    say("Over HTTP, upload included; stages are medians.")


def _load(bundle: Path, folder: Path, seconds: float) -> None:
    heading("Offered load")
    deep = deep_only(bundle, folder / "deep")
    message = region(cropped(bundle, folder))
    rows = []
    with running_server(deep, folder / "server.log", {**ROOMY, "NODOGRAM_MAXIMUM_CASES": "64"}) as server:
        capacity = asyncio.run(_regions(server, message, seconds)).rate
        for share in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0):
            before = _metrics(server)
            answers = asyncio.run(_offered(server, message, share * capacity, seconds))
            total = sum(answers.reasons.values())
            refused = total - answers.reasons[OK]
            rows.append(
                (
                    f"{share:.0%}",
                    f"{share * capacity:.1f}",
                    f"{answers.rate:.1f}",
                    f"{refused / total:.0%}",
                    f"{_mean_batch(before, _metrics(server)):.1f}",
                    *(f"{answers.percentile(p):.2f}" for p in (50, 95)),
                )
            )
            _expect_only_good(answers, "QUEUE_FULL")
    table(("load", "asked/s", "answered/s", "refused (QUEUE_FULL)", "mean batch", "p50, s", "p95, s"), rows)
    say(
        f"`PredictRegion` at random moments; the load is relative to what {CALLERS} callers reach ({capacity:.1f}/s);",
        "64 places.",
    )


def _soak(bundle: Path, folder: Path, seconds: float) -> None:
    heading("Soak")
    files = cropped(bundle, folder)
    message = region(files)
    environment = {**ROOMY, "NODOGRAM_MAXIMUM_CASES": "12"}
    with running_server(bundle, folder / "server.log", environment) as server:
        answers, asked, watch = asyncio.run(_saturate(server, files, message, seconds))
        counted = _counted(_metrics(server))
    told = Counter(answers.reasons)
    _expect_only_good(answers, "QUEUE_FULL")
    settled = min(60.0, seconds / 4)
    say(
        f"{seconds / 60:.0f} minutes, 12 callers over HTTP and 12 over gRPC on 12 places: {asked:,} requests,",
        f"{sum(told.values()):,} answered ({', '.join(f'{reason} {count:,}' for reason, count in sorted(told.items()))});",
        f"the server counted {sum(counted.values()):,} ({', '.join(f'{r} {c:,.0f}' for r, c in sorted(counted.items()))}).",
    )
    first, last = (size for _, size in (watch.samples[0], watch.samples[-1]))
    say(
        f"Resident memory of all its processes {first:.0f} MiB at the start, {last:.0f} MiB at the end;",
        f"slope after the first {settled:.0f} s {watch.slope_mib_per_minute(settled):+.2f} MiB a minute.",
    )


async def _regions(server: RunningServer, message: object, seconds: float) -> Answers:
    async with by_region(server.grpc_target, message) as ask:  # type: ignore[arg-type]
        return await closed_loop(ask, CALLERS, seconds, warm_up_s=3.0)


async def _offered(server: RunningServer, message: object, rate: float, seconds: float) -> Answers:
    async with by_region(server.grpc_target, message) as ask:  # type: ignore[arg-type]
        return await open_loop(ask, rate, seconds)


async def _files(server: RunningServer, files: Files, image: bytes, name: str, callers: int, seconds: float) -> Answers:
    async with by_http(server.url, files, image, name) as ask:
        await ask()
        return await closed_loop(ask, callers, seconds)


async def _gets(url: str, callers: int, seconds: float) -> Answers:
    async with httpx.AsyncClient(limits=httpx.Limits(keepalive_expiry=2.0)) as client:

        async def ask() -> tuple[str, dict[str, float]]:
            return (OK if (await client.get(url)).status_code == httpx.codes.OK else "FAILED"), {}

        await closed_loop(ask, callers, 0.5)
        return await closed_loop(ask, callers, seconds)


async def _saturate(server: RunningServer, files: Files, message: object, seconds: float) -> tuple[Answers, int, MemoryWatch]:
    watch = MemoryWatch(server.pid)
    watching = asyncio.ensure_future(watch.run())
    asked = 0
    image = files.image.read_bytes()
    async with by_http(server.url, files, image, files.image.name) as http, by_region(server.grpc_target, message) as grpc:  # type: ignore[arg-type]

        def counting(ask: object) -> object:
            async def counted() -> tuple[str, dict[str, float]]:
                nonlocal asked
                asked += 1
                result: tuple[str, dict[str, float]] = await ask()  # type: ignore[operator]
                return result

            return counted

        both = await asyncio.gather(*(closed_loop(counting(ask), 12, seconds) for ask in (http, grpc)))  # type: ignore[arg-type]
    watching.cancel()
    total = Answers(both[0].reasons + both[1].reasons, both[0].seconds + both[1].seconds)
    return total, asked, watch


@contextmanager
def _bare_starlette(document: Mapping[str, object], folder: Path) -> Iterator[str]:
    program = folder / "bare_starlette.py"
    program.write_text(
        "import sys, json, uvicorn\n"
        "from starlette.applications import Starlette\n"
        "from starlette.responses import JSONResponse\n"
        "from starlette.routing import Route\n"
        f"DOCUMENT = json.loads({json.dumps(json.dumps(document))})\n"
        "async def answer(request):\n    return JSONResponse(DOCUMENT)\n"
        "uvicorn.run(Starlette(routes=[Route('/', answer)]), port=int(sys.argv[1]), log_level='error', access_log=False)\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(program), str(port)])
    try:
        for _ in range(100):
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _metrics(server: RunningServer) -> dict[str, float]:
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:  # noqa: S310
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def _mean_batch(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    images, calls = (after[name] - before[name] for name in ("nodogram_batch_size_sum", "nodogram_batch_size_count"))
    return images / calls if calls else 0.0


def _counted(metrics: Mapping[str, float]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, value in metrics.items():
        if name.startswith("nodogram_requests_total"):
            found[name.partition('reason="')[2].partition('"')[0]] += int(value)
    return found


def _zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return buffer.getvalue()


def _expect_only_good(answers: Answers, *also: str) -> None:
    others = {reason: count for reason, count in answers.reasons.items() if reason not in (OK, *also)}
    if others:
        raise SystemExit(f"answers other than {OK} {' '.join(also)}: {others}")


if __name__ == "__main__":
    main()
