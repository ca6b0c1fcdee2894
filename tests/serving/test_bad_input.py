"""Hundreds of requests no honest client sends, over both protocols, to one real server that goes on answering good ones."""

from __future__ import annotations

import gzip
import io
import json
import re
import socket
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import numpy as np
import psutil
import pydicom
import pytest
import SimpleITK as sitk
from google.rpc import error_details_pb2, status_pb2
from nodogram_api.v1 import nomogram_pb2 as pb
from running_server import Served, running

from nodogram.errors import Reason
from nodogram.synthesis.cohort import write_cohort
from serving.client import Client, RefusedError
from serving.grpc_client import GrpcClient
from serving.status import OK, status_of

CLINICAL = {"ct_reported_lnm": "yes", "tumour_site": "glottic"}
SMALL = {"NODOGRAM_MAXIMUM_ARCHIVE_BYTES": "30000000", "NODOGRAM_MAXIMUM_ARCHIVE_FILES": "300"}
SMALL |= {"NODOGRAM_MAXIMUM_UPLOAD_BYTES": "20000000", "NODOGRAM_REQUEST_TIMEOUT_S": "20", "NODOGRAM_MAXIMUM_CASES": "64"}
# Whatever damage to the bytes of an image may look like; which one depends on where it strikes.
DAMAGE = frozenset(
    {OK, "UNREADABLE_FILE", "UNSUPPORTED_FORMAT", "PIXEL_DECODE", "NO_IMAGES", "MULTIPLE_SERIES", "NOT_CT", "NO_GEOMETRY"}
    | {"MIXED_ORIENTATION", "MIXED_MATRIX", "MIXED_PIXEL_SPACING", "MIXED_FRAME_OF_REFERENCE", "BAD_ORIENTATION"}
    | {"MISSING_SLICES", "NONUNIFORM_SPACING", "OVERLAPPING_POSITIONS", "NO_RESCALE", "NOT_HU", "GEOMETRY_INVALID"}
    | {"IMAGE_TOO_LARGE", "NOT_FINITE", "ROI_FRAME_OF_REFERENCE_MISMATCH", "ROI_OUTSIDE_IMAGE", "ROI_EMPTY", "GANTRY_TILT"}
    | {"ROI_GEOMETRY_MISMATCH", "ROI_CONTOUR_INVALID", "ROI_TOO_SMALL", "ROI_TOUCHES_BORDER", "ROI_NOT_FOUND", "ROI_AMBIGUOUS"}
)


@dataclass(frozen=True)
class Bad:
    """Files to send and what may be answered."""

    kind: str
    image: bytes
    image_name: str
    roi: bytes
    roi_name: str
    reasons: frozenset[str]


@dataclass(frozen=True)
class Good:
    """One patient as NIfTI and one as DICOM."""

    image: bytes
    roi: bytes
    slices: tuple[bytes, ...]
    outline: bytes


@pytest.fixture(scope="module")
def good(tiny_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Good:
    patient = sorted((tiny_cohort / "patients").iterdir())[0]
    image, roi = sorted(patient.glob("*.nii.gz"), key=lambda path: -path.stat().st_size)
    cohort = tmp_path_factory.mktemp("dicom") / "cohort"
    write_cohort(cohort, patient_count=2, seed=4, signal=1.0, image_format="dicom", matrix=96, slice_count=24, jobs=1)
    study = sorted((cohort / "patients").iterdir())[0]
    outline = next(path for path in study.iterdir() if path.is_file())
    slices = tuple(path.read_bytes() for path in sorted((study / "ct").iterdir()))
    return Good(image.read_bytes(), roi.read_bytes(), slices, outline.read_bytes())


@pytest.fixture(scope="module")
def server(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with running(tiny_run / "bundle", tmp_path_factory.mktemp("malformed"), **SMALL) as served:
        yield served


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def series(slices: tuple[bytes, ...]) -> bytes:
    return zipped({f"{index:03d}.dcm": content for index, content in enumerate(slices)})


def changed(content: bytes, **attributes: object) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(content))
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def nifti(array: np.ndarray, like: bytes, folder: Path, origin: tuple[float, float, float] | None = None) -> bytes:
    (folder / "like.nii.gz").write_bytes(like)
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(sitk.ReadImage(str(folder / "like.nii.gz")))
    if origin is not None:
        image.SetOrigin(origin)
    sitk.WriteImage(image, str(folder / "made.nii.gz"))
    return (folder / "made.nii.gz").read_bytes()


def bad_files(good: Good, folder: Path) -> list[Bad]:
    rng = np.random.default_rng(2026)
    dicom = good.slices

    def image(kind: str, content: bytes, name: str, *reasons: str) -> Bad:
        is_dicom = name.endswith((".zip", ".dcm"))
        roi, roi_name = (good.outline, "roi.dcm") if is_dicom else (good.roi, "roi.nii.gz")
        return Bad(kind, content, name, roi, roi_name, frozenset(reasons) or DAMAGE)

    def outline(kind: str, content: bytes, name: str, *reasons: str) -> Bad:
        return Bad(kind, good.image, "image.nii.gz", content, name, frozenset(reasons) or DAMAGE)

    found = [
        image("truncated NIfTI", good.image[: int(share * len(good.image))], "image.nii.gz", "UNREADABLE_FILE")
        for share in (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
    ]
    for name in ("image.nii", "image.nii.gz", "image.nrrd", "image.zip", "image.dcm"):
        for size in (0, 1, 200, 5000):
            reasons = {"ARCHIVE_INVALID"} if name.endswith("zip") else {"UNREADABLE_FILE", "UNSUPPORTED_FORMAT", "NO_IMAGES"}
            found.append(image(f"random {name}", rng.bytes(size), name, *reasons, "REQUEST_INVALID"))
    for share in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999):
        broken = (*dicom[:5], dicom[5][: int(share * len(dicom[5]))], *dicom[6:])
        found.append(image("truncated DICOM", series(broken), "image.zip"))
    for _ in range(24):
        content = bytearray(dicom[3])
        for place in rng.integers(132, 2000, 6):
            content[place] ^= 1 << int(rng.integers(8))
        found.append(image("flipped DICOM", series((*dicom[:3], bytes(content), *dicom[4:])), "image.zip"))
    for _ in range(8):
        content = bytearray(good.outline)
        for place in rng.integers(132, len(content), 20):
            content[place] = int(rng.integers(256))
        found.append(Bad("flipped outline", series(dicom), "image.zip", bytes(content), "roi.dcm", DAMAGE))
    magnetic = tuple(changed(content, Modality="MR") for content in dicom)
    array = sitk.GetArrayFromImage(read(good.image, folder)).astype(np.float32)
    mask = sitk.GetArrayFromImage(read(good.roi, folder))
    broken = array.copy()
    broken[3, 4, 5] = np.nan
    header = bytearray(gzip.decompress(good.image))
    header[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    bomb = zipped({"0.dcm": bytes(200_000_000)}, zipfile.ZIP_DEFLATED)
    found += [
        image("wrong modality", series(magnetic), "image.zip", "NOT_CT"),
        image("two slices", series(dicom[:2]), "image.zip", "TOO_FEW_SLICES"),
        image("missing slice", series((*dicom[:8], *dicom[9:])), "image.zip", "MISSING_SLICES"),
        image(
            "two series",
            series((*dicom, changed(dicom[0], SeriesInstanceUID="1.2.3", SOPInstanceUID="1.2.4"))),
            "image.zip",
            "MULTIPLE_SERIES",
        ),
        image("NaN", nifti(broken, good.image, folder), "image.nii.gz", "NOT_FINITE"),
        image("huge header", gzip.compress(bytes(header)), "image.nii.gz", "IMAGE_TOO_LARGE"),
        image("zip bomb", bomb, "image.zip", "ARCHIVE_TOO_LARGE"),
        image("bomb in a bomb", zipped({"0.dcm": bomb}), "image.zip", "NO_IMAGES", "UNREADABLE_FILE"),
        image("many files", zipped({f"{i}.dcm": b"" for i in range(400)}), "image.zip", "ARCHIVE_TOO_LARGE"),
        image("path out", zipped({"../../etc/cron.d/x": dicom[0]}), "image.zip", "ARCHIVE_INVALID"),
        image("absolute path", zipped({"/etc/passwd": dicom[0]}), "image.zip", "ARCHIVE_INVALID"),
        image("empty zip", zipped({}), "image.zip", "ARCHIVE_INVALID"),
        image("outline as image", good.outline, "image.dcm", "NOT_CT", "NO_IMAGES"),
        outline("image as outline", good.image, "roi.nii.gz", "ROI_AMBIGUOUS"),
        outline("empty mask", nifti(mask * 0, good.image, folder), "roi.nii.gz", "ROI_EMPTY"),
        outline("other grid", nifti(mask, good.image, folder, (9.0, 9.0, 9.0)), "roi.nii.gz", "ROI_GEOMETRY_MISMATCH"),
        outline("full mask", nifti(mask * 0 + 1, good.image, folder), "roi.nii.gz", "ROI_TOUCHES_BORDER"),
        # NIfTI names no frame of reference: such an outline is refused only where it does not lie in the image.
        outline("outline of another image", good.outline, "roi.dcm"),
        outline("truncated outline", good.roi[:100], "roi.nii.gz", "UNREADABLE_FILE"),
        Bad(
            "mask of another patient", series(dicom), "image.zip", good.roi, "roi.nii.gz", frozenset({"ROI_GEOMETRY_MISMATCH"})
        ),
    ]
    return found


def read(content: bytes, folder: Path) -> sitk.Image:
    (folder / "read.nii.gz").write_bytes(content)
    return sitk.ReadImage(str(folder / "read.nii.gz"))


def by_http(server: Served, bad: Bad) -> str:
    response = httpx.post(
        f"{server.url}/v1/predict",
        files={"image": (bad.image_name, bad.image), "roi": (bad.roi_name, bad.roi)},
        data={"clinical": json.dumps(CLINICAL)},
        timeout=60,
    )
    return reason_of(response)


def reason_of(response: httpx.Response) -> str:
    if response.status_code == httpx.codes.OK:
        return OK
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code == status_of(Reason(problem["reason"])).http
    assert problem["request_id"] == response.headers["x-request-id"]
    return str(problem["reason"])


def by_grpc(server: Served, bad: Bad, folder: Path) -> str:
    image, roi = folder / bad.image_name, folder / bad.roi_name
    image.write_bytes(bad.image)
    roi.write_bytes(bad.roi)
    try:
        with GrpcClient(server.grpc_target) as client:
            client.predict(image, roi, clinical=CLINICAL)
    except RefusedError as error:
        refused = error
    else:
        return OK
    assert isinstance(refused.__cause__, grpc.RpcError)
    assert refused.__cause__.code() is status_of(Reason(refused.reason)).grpc
    return refused.reason


def raw(server: Served, method: str, messages: list[bytes]) -> str:
    """Send bytes as they are on a stream."""
    with grpc.insecure_channel(server.grpc_target) as channel:
        call = channel.stream_unary(f"/nodogram_api.v1.NomogramService/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            call(iter(messages), timeout=30)
    details = dict(caught.value.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    assert caught.value.code() is status_of(Reason(info.reason)).grpc
    return str(info.reason)


def assert_still_good(server: Served, good: Good, folder: Path, expected: set[float | None]) -> None:
    (folder / "image.nii.gz").write_bytes(good.image)
    (folder / "roi.nii.gz").write_bytes(good.roi)
    with Client(server.url) as http, GrpcClient(server.grpc_target) as over_grpc:
        for client in (http, over_grpc):
            expected.add(client.predict(folder / "image.nii.gz", folder / "roi.nii.gz", clinical=CLINICAL).probability)
    assert len(expected) == 1
    assert None not in expected


def test_files(server: Served, good: Good, tmp_path: Path) -> None:
    cases = bad_files(good, tmp_path)
    expected: set[float | None] = set()
    assert_still_good(server, good, tmp_path, expected)
    family = {process.pid for process in psutil.Process(server.process.pid).children(recursive=True)}

    def ask(index: int) -> tuple[str, str, str, frozenset[str]]:
        bad = cases[index // 2]
        folder = tmp_path / str(index)
        folder.mkdir()
        answer = by_http(server, bad) if index % 2 else by_grpc(server, bad, folder)
        return "http" if index % 2 else "grpc", bad.kind, answer, bad.reasons

    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(ask, range(2 * len(cases))))
    assert len(answers) >= 160
    assert [(way, kind, reason) for way, kind, reason, allowed in answers if reason not in allowed] == []
    # The same bytes get the same answer by both ways.
    assert [pair for pair in zip(answers[::2], answers[1::2], strict=True) if pair[0][2] != pair[1][2]] == []
    assert_still_good(server, good, tmp_path, expected)
    assert family == {process.pid for process in psutil.Process(server.process.pid).children(recursive=True)}
    assert "Traceback" not in server.log.read_text()


def test_bodies(server: Served, good: Good, tmp_path: Path) -> None:
    url, nothing = f"{server.url}/v1/predict", {"image": ("i.nii.gz", good.image), "roi": ("r.nii.gz", good.roi)}
    rng = np.random.default_rng(1)
    answers: Counter[str] = Counter()
    for clinical in ("", "{", "[]", "3", '{"a": {}}', '{"a": null}', '{"ct_reported_lnm": NaN}', "[" * 5000):
        answers[reason_of(httpx.post(url, files=nothing, data={"clinical": clinical}))] += 1
    assert set(answers) <= {"REQUEST_INVALID", OK}
    for clinical, reason in (
        ({"ct_reported": "yes"}, "CLINICAL_PREDICTOR_UNKNOWN"),
        ({"ct_reported_lnm": "perhaps"}, "CLINICAL_VALUE_INVALID"),
    ):
        assert reason_of(httpx.post(url, files=nothing, data={"clinical": json.dumps(clinical)})) == reason
    for content_type in ("multipart/form-data", "multipart/form-data; boundary=x", "application/json", "text/plain", ""):
        for size in (0, 10, 1000):
            reason = reason_of(httpx.post(url, content=rng.bytes(size), headers={"content-type": content_type}))
            assert reason in {"REQUEST_INVALID", "UNSUPPORTED_FORMAT"}
    assert (
        reason_of(httpx.post(url, files={"image": ("i.nii", bytes(21_000_000)), "roi": ("r.nii", b"")})) == "REQUEST_TOO_LARGE"
    )
    assert reason_of(httpx.post(url, files={"image": nothing["image"]})) == "REQUEST_INVALID"
    assert_still_good(server, good, tmp_path, set())


def test_streams(server: Served, good: Good, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    header = pb.PredictRequest(
        header=pb.PredictHeader(image_format=pb.IMAGE_FORMAT_NIFTI_GZIP, roi_format=pb.ROI_FORMAT_NIFTI_GZIP)
    ).SerializeToString()
    image, roi = (
        pb.PredictRequest(image_chunk=good.image[:1000]).SerializeToString(),
        pb.PredictRequest(roi_chunk=good.roi[:1000]).SerializeToString(),
    )
    for _ in range(30):
        messages = [bytes([255]) + rng.bytes(int(rng.integers(1, 300)))]
        assert raw(server, "Predict", messages) == "REQUEST_INVALID"
        assert raw(server, "PredictRegion", messages) == "REQUEST_INVALID"
    for messages in ([], [image], [header], [header, roi, image], [header, header], [header, image], [header, image, b""]):
        assert raw(server, "Predict", messages) == "REQUEST_INVALID"
    large = pb.PredictRequest(image_chunk=bytes(2**18 + 1)).SerializeToString()
    assert raw(server, "Predict", [header, large]) == "REQUEST_TOO_LARGE"
    full = pb.PredictRequest(image_chunk=bytes(2**18)).SerializeToString()
    assert raw(server, "Predict", [header, *([full] * 90)]) == "REQUEST_TOO_LARGE"
    assert raw(server, "PredictRegion", [pb.PredictRegionRequest().SerializeToString()]) in {
        "GEOMETRY_INVALID",
        "REQUEST_INVALID",
    }
    for _ in range(10):
        with grpc.insecure_channel(server.grpc_target) as channel:
            call = channel.stream_unary("/nodogram_api.v1.NomogramService/Predict").future(iter([header, image]), timeout=30)
            call.cancel()
    assert_still_good(server, good, tmp_path, set())
    assert '"INTERNAL"' not in server.log.read_text()


def test_clients_that_stop_or_leave(tiny_run: Path, good: Good, tmp_path: Path) -> None:
    with running(tiny_run / "bundle", tmp_path, **{**SMALL, "NODOGRAM_REQUEST_TIMEOUT_S": "2"}) as server:
        place = urlsplit(server.url)
        head = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n"
        head += b"content-type: multipart/form-data; boundary=b\r\n\r\n"
        slow = [socket.create_connection((place.hostname, place.port)) for _ in range(12)]
        for connection in slow:
            connection.sendall(head + b"--b\r\n")
        for connection in slow[:4]:
            connection.close()
        for connection in slow[4:]:
            connection.settimeout(15)
            answer = connection.makefile("rb").read().decode()
            assert re.match(r"HTTP/1.1 504 ", answer)
            assert "DEADLINE_EXCEEDED" in answer
            connection.close()
        assert_still_good(server, good, tmp_path, set())
        metrics = httpx.get(f"{server.url}/metrics").text
        assert re.search(r'nodogram_requests_total\{[^}]*reason="CANCELLED"[^}]*\} 4\.0', metrics)
