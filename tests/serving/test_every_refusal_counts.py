"""Requests that lie about themselves, stop halfway or leave: each is refused, counted and logged once, and leaves nothing."""

from __future__ import annotations

import io
import json
import queue
import re
import socket
import stat
import struct
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import numpy as np
import psutil
import pytest
from google.rpc import error_details_pb2, status_pb2
from nodogram_api.v1 import nomogram_pb2 as pb
from prometheus_client.parser import text_string_to_metric_families
from running_server import Served, running

from nodogram.errors import Reason
from nodogram.imaging.volume_file import write_mask_file, write_volume_file
from nodogram.volume import Mask, Volume
from serving.status import OK, status_of
from serving.wire import geometry
from tests.nodogram.imaging.faulty_series import write_series

SHAPE, SPACING_MM, LIMIT_S = (20, 64, 64), (2.0, 1.5, 1.5), 5.0
AXES = [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0]
SERVICE = "/nodogram_api.v1.NomogramService"


@dataclass
class Caller:
    """Sends requests, and keeps account of the answers it got."""

    server: Served
    channel: grpc.Channel
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)

    def note(self, protocol: str, reason: str, request_id: str | None) -> str:
        self.answers[protocol, reason] += 1
        if request_id is not None:
            assert request_id not in self.reasons
            self.reasons[request_id] = reason
        return reason

    def post(self, image: tuple[str, bytes], roi: tuple[str, bytes], headers: dict[str, str] | None = None) -> str:
        url = f"{self.server.url}/v1/predict"
        response = httpx.post(url, files={"image": image, "roi": roi}, headers=headers or {}, timeout=30)
        reason = OK if response.status_code == httpx.codes.OK else response.json()["reason"]
        assert reason == OK or response.status_code == status_of(Reason(reason)).http
        return self.note("http", reason, response.headers["x-request-id"])

    def call(self, method: str, messages: Iterator[bytes]) -> str:
        call = self.channel.stream_unary(f"{SERVICE}/{method}").future(messages, timeout=30)
        code, metadata = call.code(), dict(call.trailing_metadata() or ())
        reason = OK
        if code is not grpc.StatusCode.OK:
            info = error_details_pb2.ErrorInfo()
            assert status_pb2.Status.FromString(metadata["grpc-status-details-bin"]).details[0].Unpack(info)
            reason = info.reason
            assert code is status_of(Reason(reason)).grpc
        return self.note("grpc", reason, metadata["x-request-id"])


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spool")


@pytest.fixture(scope="module")
def caller(tiny_run: Path, spool: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    settings = {"NODOGRAM_REQUEST_TIMEOUT_S": f"{LIMIT_S:g}", "NODOGRAM_SPOOL": str(spool)}
    with (
        running(tiny_run / "bundle", tmp_path_factory.mktemp("lies"), **settings) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        yield Caller(server, channel)


def region(**changes: object) -> pb.PredictRegionRequest:
    hu = np.random.default_rng(1).normal(50, 30, SHAPE).round().astype("<i2")
    mask = np.zeros(SHAPE, np.uint8)
    mask[6:14, 25:38, 25:38] = 1
    grid = pb.Geometry(shape=SHAPE, spacing_mm=SPACING_MM, origin_mm=(0, 0, 0), direction=AXES)
    return pb.PredictRegionRequest(**{"geometry": grid, "hu": hu.tobytes(), "mask": mask.tobytes(), **changes})


def grid(**changes: object) -> pb.PredictRegionRequest:
    values = {"shape": SHAPE, "spacing_mm": SPACING_MM, "origin_mm": (0, 0, 0), "direction": AXES, **changes}
    return region(geometry=pb.Geometry(**values))


def zipped(folder: Path, change: Callable[[zipfile.ZipInfo], None] | None = None) -> bytes:
    """Zip a series; ``change`` edits what is said of its first file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
        if change is not None:
            change(archive.infolist()[0])
    return buffer.getvalue()


def detached(folder: Path, header: bytes, line: bytes) -> bytes:
    """Return an NRRD that names another file of the server for its voxels."""
    (folder / "elsewhere.raw").write_bytes(bytes(2 * 64 * 64 * 20))
    path = str(folder / "elsewhere.raw").encode()
    return b"NRRD0004\n" + header + line + path + b"\n\n"


NRRD = b"type: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 64 64 20\nendian: little\nencoding: raw\n"
NRRD += b"space directions: (1.5,0,0) (0,1.5,0) (0,0,2)\nspace origin: (0,0,0)\n"


def lying_images(folder: Path, nifti: bytes) -> dict[str, tuple[tuple[str, bytes], str]]:
    """Return images by what is wrong with them, and the reason each is refused for."""

    def patched(start: int, layout: str, *values: float) -> tuple[str, bytes]:
        content = bytearray(nifti)
        struct.pack_into(layout, content, start, *values)
        return "i.nii", bytes(content)

    def entry(**changes: object) -> tuple[str, bytes]:
        return "i.zip", zipped(series, lambda info: [setattr(info, k, v) for k, v in changes.items()] and None)

    def image(content: bytes) -> tuple[str, bytes]:
        return "i.nrrd", content

    series = write_series(folder / "series")
    j2k = write_series(folder / "j2k", lambda d, _: d.compress("1.2.840.10008.1.2.4.90", generate_instance_uid=False))
    vast = (60000).to_bytes(4, "big")
    for path in j2k.iterdir():
        content = path.read_bytes()
        size = content.index(b"\xff\x4f\xff\x51") + 8
        path.write_bytes(content[:size] + vast * 2 + content[size + 8 : size + 16] + vast * 2 + content[size + 24 :])
    return {
        "encrypted": (entry(flag_bits=1), "ARCHIVE_INVALID"),
        "bzip2": (entry(compress_type=zipfile.ZIP_BZIP2), "ARCHIVE_INVALID"),
        "symbolic link": (entry(external_attr=(stat.S_IFLNK | 0o777) << 16), "ARCHIVE_INVALID"),
        "drive": (entry(filename="C:\\x.dcm", orig_filename="C:\\x.dcm"), "ARCHIVE_INVALID"),
        "says 3 GB": (entry(file_size=3 * 10**9), "ARCHIVE_TOO_LARGE"),
        "says less": (entry(file_size=10), "ARCHIVE_INVALID"),
        "wrong checksum": (entry(CRC=1), "ARCHIVE_INVALID"),
        "frames of another size": (("i.zip", zipped(j2k)), "PIXEL_DECODE"),
        "data file": (image(detached(folder, NRRD, b"data file: ")), "UNSUPPORTED_FORMAT"),
        "data file behind a return": (image(detached(folder, NRRD, b"content: x\rDATA FILE: ")), "UNSUPPORTED_FORMAT"),
        "data file far down": (image(detached(folder, b"# x\n" * 20000 + NRRD, b"data file: ")), "UNREADABLE_FILE"),
        "NRRD without voxels": (image(b"NRRD0004\n" + NRRD + b"\n"), "UNREADABLE_FILE"),
        "four dimensions": (patched(40, "<5h", 4, 64, 64, 10, 2), "UNSUPPORTED_FORMAT"),
        "no bits": (patched(72, "<h", 0), "UNREADABLE_FILE"),
        "no type": (patched(70, "<h", 0), "UNREADABLE_FILE"),
        "voxels far away": (patched(108, "<f", 1e30), "UNREADABLE_FILE"),
        "voxels nowhere": (patched(108, "<f", np.nan), "UNREADABLE_FILE"),
        "nowhere": (patched(280, "<12f", *[np.nan] * 12), "GEOMETRY_INVALID"),
        "beyond float": (patched(112, "<2f", 1e38, 0), "NOT_FINITE"),
    }


def lying_regions() -> list[tuple[pb.PredictRegionRequest, str]]:
    border = np.ones(SHAPE, np.uint8).tobytes()
    vast = [(2**32 - 1,) * 3, (2**16, 2**16, 1)]
    invalid = [grid(spacing_mm=(s, s, s)) for s in (0.0, -1.0, np.nan, np.inf, 1e308, 5e-324, 1e-8)]
    invalid += [grid(origin_mm=(0, 0, np.inf)), grid(direction=[1.0] * 9), grid(direction=[np.nan] * 9), grid(shape=(1, 1))]
    invalid += [grid(shape=(0, 64, 64)), grid(direction=[])]
    found = [(request, "GEOMETRY_INVALID") for request in invalid]
    found += [(grid(shape=shape), "IMAGE_TOO_LARGE") for shape in vast]
    found += [(grid(spacing_mm=(300, 300, 300)), "IMAGE_TOO_LARGE"), (grid(shape=(20, 64, 65)), "REQUEST_INVALID")]
    found += [(region(hu=b""), "REQUEST_INVALID"), (region(mask=b"\1"), "REQUEST_INVALID")]
    found += [(region(mask=bytes(len(border))), "ROI_EMPTY"), (region(mask=border), "ROI_TOUCHES_BORDER")]
    found += [(region(case_id="x" * 129), "REQUEST_INVALID"), (region(case_id="a\nb"), "REQUEST_INVALID")]
    number = pb.ClinicalValue(number=np.nan)
    found += [(region(clinical={"tumour_site": value}), "REQUEST_INVALID") for value in (pb.ClinicalValue(), number)]
    found += [(region(clinical={"nonsense": pb.ClinicalValue(number=1)}), "CLINICAL_PREDICTOR_UNKNOWN")]
    found += [(region(clinical={"tumour_site": pb.ClinicalValue(level="moon")}), "CLINICAL_VALUE_INVALID")]
    return [*found, (region(nomogram_required=True), "CLINICAL_PREDICTOR_MISSING"), (region(), OK)]


def files_of(folder: Path) -> tuple[bytes, bytes]:
    found = region()
    place = geometry(found.geometry)
    hu = np.frombuffer(found.hu, "<i2").reshape(SHAPE)
    write_volume_file(folder / "i.nii", Volume(hu.astype(np.float32), place))
    write_mask_file(folder / "r.nii", Mask(np.frombuffer(found.mask, np.uint8).reshape(SHAPE) != 0, place))
    return (folder / "i.nii").read_bytes(), (folder / "r.nii").read_bytes()


def chunks(image: tuple[str, bytes], roi: bytes) -> Iterator[bytes]:
    formats = {".zip": pb.IMAGE_FORMAT_DICOM_ZIP, ".nii": pb.IMAGE_FORMAT_NIFTI, ".nrrd": pb.IMAGE_FORMAT_NRRD}
    header = pb.PredictHeader(image_format=formats[Path(image[0]).suffix], roi_format=pb.ROI_FORMAT_NIFTI)
    yield pb.PredictRequest(header=header).SerializeToString()
    for start in range(0, len(image[1]), 2**18):
        yield pb.PredictRequest(image_chunk=image[1][start : start + 2**18]).SerializeToString()
    yield pb.PredictRequest(roi_chunk=roi).SerializeToString()


def test_lies_are_told_apart_alike_by_both_protocols(caller: Caller, spool: Path, tmp_path: Path) -> None:
    image, roi = files_of(tmp_path)
    family = {child.pid for child in psutil.Process(caller.server.process.pid).children(recursive=True)}
    found, expected = {}, {}
    for kind, (lie, reason) in lying_images(tmp_path, image).items():
        expected[kind] = (reason, reason)
        found[kind] = caller.post(lie, ("r.nii", roi)), caller.call("Predict", chunks(lie, roi))
    assert found == expected
    assert [caller.call("PredictRegion", iter([r.SerializeToString()])) for r, _ in lying_regions()] == [
        reason for _, reason in lying_regions()
    ]
    for given in ("0", "-1", "nan", "1e999", "soon"):
        assert caller.post(("i.nii", image), ("r.nii", roi), {"x-request-timeout-s": given}) == "REQUEST_INVALID"
    for content in (b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"):
        assert caller.call("PredictRegion", iter([content])) == "REQUEST_INVALID"
    assert caller.call("GetModel", iter([b"\xff"])) == "REQUEST_INVALID"
    assert caller.post(("i.nii", image), ("r.nii", roi)) == OK
    assert family == {child.pid for child in psutil.Process(caller.server.process.pid).children(recursive=True)}
    assert not list(spool.iterdir())


def test_clients_that_stop_are_told_and_those_that_leave_are_noticed(caller: Caller, spool: Path, tmp_path: Path) -> None:
    image, roi = files_of(tmp_path)
    place = urlsplit(caller.server.url)
    head = (
        b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\ncontent-type: multipart/form-data; boundary=b\r\n\r\n"
    )
    workers = len(psutil.Process(caller.server.process.pid).children(recursive=True))
    with ExitStack() as stack:

        def connect(start: bytes) -> socket.socket:
            connection = stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=4 * LIMIT_S))
            connection.sendall(start)
            return connection

        def streams(count: int) -> tuple[list[grpc.Future], queue.SimpleQueue[bytes | None]]:
            pending: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
            first = next(chunks(("i.nii", image), roi))
            method = caller.channel.stream_unary(f"{SERVICE}/Predict")

            def messages() -> Iterator[bytes]:
                yield first
                yield from iter(pending.get, None)

            return [method.future(messages(), timeout=60) for _ in range(count)], pending

        # Those that never finish their headers have asked for nothing; they must not be in the way.
        for length in range(1, 41, 2):
            connect(head[:length])
        slow, leaving = [connect(head + b"--b\r\n") for _ in range(6)], [connect(head + b"--b") for _ in range(6)]
        (stopping, more), (cancelled, rest) = streams(4), streams(4)
        time.sleep(0.5)
        for connection in leaving:
            connection.close()
        for call in cancelled:
            call.cancel()
        for _ in range(2):
            assert caller.post(("i.nii", image), ("r.nii", roi)) == OK
        for connection in slow:
            answer = connection.makefile("rb").read().decode()
            assert answer.startswith("HTTP/1.1 504 ")
            request_id = re.search(r"x-request-id: (\w+)", answer)
            caller.note("http", "DEADLINE_EXCEEDED", request_id and request_id[1])
            assert request_id is not None
        for call in stopping:
            assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            caller.note("grpc", "DEADLINE_EXCEEDED", dict(call.trailing_metadata())["x-request-id"])
        for _ in range(len(stopping)):
            more.put(None)
            rest.put(None)
        caller.answers["http", "CANCELLED"] += len(leaving)
        caller.answers["grpc", "CANCELLED"] += len(cancelled)
    assert caller.post(("i.nii", image), ("r.nii", roi)) == OK
    assert caller.server.is_ready()
    assert len(psutil.Process(caller.server.process.pid).children(recursive=True)) == workers
    assert not list(spool.iterdir())


def test_the_account_is_complete(caller: Caller) -> None:
    counted: Counter[tuple[str, str]] = Counter()
    text = httpx.get(f"{caller.server.url}/metrics").text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "nodogram_requests_total":
                counted[sample.labels["protocol"], sample.labels["reason"]] += int(sample.value)
    assert counted == caller.answers
    log = caller.server.log.read_text()
    assert "Traceback" not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    said = Counter((line["request_id"], line["reason"]) for line in lines if "request_id" in line)
    assert {key: said[key] for key in caller.reasons.items() if key[1] != OK} == dict.fromkeys(
        (key for key in caller.reasons.items() if key[1] != OK), 1
    )
    assert sum(said.values()) == caller.answers.total()
