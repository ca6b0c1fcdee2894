"""Logs of real processes: one line per event whoever speaks, and nothing that belongs to a patient."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from nodogram.synthesis.dicom_regions import write_rtstruct
from nodogram.synthesis.dicom_writer import DicomIdentity, write_ct_series
from nodogram.synthesis.phantom import synthesize_patient
from serving.logs import drop_identifiers

ROOT = Path(__file__).parents[2]


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


SPEAKERS = """
import logging, structlog
from bentoml._internal.log import configure_server_logging
asyncio_logger = logging.getLogger("asyncio")  # there before, so BentoML's configuration switches it off
configure_server_logging()
assert asyncio_logger.disabled
from serving.logs import configure_logging
configure_logging("json")
configure_logging("json")
structlog.get_logger("nodogram.request").info("predicted", reason="OK", stage_s={"fuse": 0.1})
structlog.get_logger("nodogram.request").debug("not said")
for name in ("uvicorn.error", "bentoml", "bentoml.worker.service", "grpc", "grpc._cython.cygrpc", "circus", "asyncio"):
    logging.getLogger(name).error("%s speaks", name)
    logging.getLogger(name).info("not said")
for name in ("bentoml.access", "uvicorn.access", "pydicom", "highdicom"):
    logging.getLogger(name).error("not said")
"""


def test_everyone_speaks_json_once() -> None:
    done = run(SPEAKERS)
    found = events(done.stderr)
    assert done.stdout == ""
    assert [(e["logger"], e["level"], e["event"]) for e in found] == [
        ("nodogram.request", "info", "predicted"),
        *(
            (name, "error", f"{name} speaks")
            for name in (
                "uvicorn.error",
                "bentoml",
                "bentoml.worker.service",
                "grpc",
                "grpc._cython.cygrpc",
                "circus",
                "asyncio",
            )
        ),
    ]
    assert found[0]["reason"] == "OK"
    assert found[0]["stage_s"] == {"fuse": 0.1}
    for event in found:
        assert event["timestamp"].endswith("Z")
        assert datetime.fromisoformat(event["timestamp"]).utcoffset() == timedelta(0)


FAILURE = """
import logging, structlog, sys
from nodogram.errors import ImageError, Reason
from serving.logs import configure_logging
configure_logging(sys.argv[1])

def read(name):
    secret = "LOCAL-" + "VALUE"
    raise KeyError("DOE" + "^JANE")

try:
    try:
        read("x")
    except KeyError as cause:
        cause.add_note('  File "there.py", line 3, in read\\n' + f"KeyError: {'DOE' + '^JANE'!r}")
        raise ImageError(Reason.NOT_CT, "modality is 'MR'; CT is required") from cause
except ImageError:
    structlog.get_logger("nodogram.request").exception("request failed")
    logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
"""


def test_an_exception_is_one_line_of_json_without_values() -> None:
    done = run(FAILURE, "json")
    ours, foreign = events(done.stderr)
    assert ours["event"] == "request failed"
    for event in (ours, foreign):
        text = event["exception"]
        assert text.index("KeyError: …") < text.index("which led to") < text.index("ImageError: NOT_CT: modality is 'MR'")
        assert "in read" in text
        assert 'File "there.py", line 3' in text, "the frames of another process"
        assert "DOE^JANE" not in text
        assert "LOCAL-VALUE" not in text


def test_a_person_can_read_it() -> None:
    done = run(FAILURE, "console")
    first, *others = done.stderr.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[error +\] request failed +\[nodogram.request\]", first)
    assert "Traceback (most recent call last):" in others
    assert "ImageError: NOT_CT: modality is 'MR'; CT is required" in others
    assert "DOE^JANE" not in done.stderr
    assert "LOCAL-VALUE" not in done.stderr


AUTOMATIC = """
import structlog
from serving.logs import configure_logging
configure_logging("auto")
structlog.get_logger("nodogram").info("hello")
"""


def test_automatic_is_json_but_on_a_terminal() -> None:
    assert events(run(AUTOMATIC).stderr)[0]["event"] == "hello"
    ours, theirs = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", AUTOMATIC], cwd=ROOT, stderr=theirs, timeout=60, check=True)
        text = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "hello" in text
    assert not text.startswith("{")


WARNINGS = """
import logging, warnings
from serving.logs import configure_logging
configure_logging("json")
warnings.warn("Invalid value for VR PN: DOE^JANE")
logging.getLogger("pydicom").warning("Patient DOE^JANE has no size")
logging.getLogger("asyncio").error("Task exception was never retrieved\\nexception=KeyError('DOE^JANE')")
"""


def test_libraries_that_quote_what_they_read_are_silent() -> None:
    (event,) = events(run(WARNINGS).stderr)
    assert event["event"] == "Task exception was never retrieved\nexception=KeyError(…)"


ACCESS = """
import asyncio, urllib.request
import uvicorn
from serving.logs import configure_logging

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})

async def main():
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    configure_logging("json")
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/SECRET").read())
    server.should_exit = True
    await task

asyncio.run(main())
print("served")
"""


def test_nobody_logs_paths_and_addresses() -> None:
    done = run(ACCESS)
    assert done.stdout == "served\n"
    assert done.stderr == ""


def test_keys_are_dropped_wherever_they_are() -> None:
    event = {
        "event": "x",
        "case_id": 1,
        "Authorization": 1,
        "token": 1,
        "study_instance_uid": 1,
        "SOPInstanceUIDs": 1,
        "PatientName": 1,
        "request_id": "r-1",
        "caller": "pacs",
        "nested": [{"patient_id": 1, "reason": "OK"}],
    }
    assert drop_identifiers(None, "info", event) == {
        "event": "x",
        "request_id": "r-1",
        "caller": "pacs",
        "nested": [{"reason": "OK"}],
    }


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ("series 1.2.826.0.1.3680043.8.498.123 of", "series … of"),
        ("2.25.329800735698586629295641978511506172918", "…"),
        ("authorization: Bearer abc.DEF-123~+/=", "authorization: Bearer …"),
        (Path("/spool/1.2.840.113619.2.55.3/x.dcm"), "/spool/…/x.dcm"),
        ("listening on 127.0.0.1:3000", "listening on 127.0.0.1:3000"),
        ("onnxruntime 1.31.1, nodogram 0.1.0", "onnxruntime 1.31.1, nodogram 0.1.0"),
        (0.25, 0.25),
        (None, None),
        (True, True),
    ],
)
def test_identifiers_in_texts_are_masked_and_nothing_else(text: object, logged: object) -> None:
    assert drop_identifiers(None, "info", {"what": text}) == {"what": logged}


def test_a_uid_of_any_organization_is_masked() -> None:
    for prefix in ("1.2.826.0.1.3680043.8.498.", None):
        assert drop_identifiers(None, "info", {"what": generate_uid(prefix=prefix)}) == {"what": "…"}


FRONT_DOOR = """
import asyncio, sys, time
from pathlib import Path
sys.path.insert(0, "tests/serving")
from small_model import small_bundle
from nodogram.errors import NodogramError
from nodogram.predict import Measurement
from serving.admission import Admission
from serving.case_pool import CasePool
from serving.config import ServerSettings
from serving.front_door import FrontDoor
from serving.lifecycle import Lifecycle
from serving.logs import configure_logging
from serving.predictor import Predictor
from serving.requests import CaseRequest, StoredFiles
from serving.telemetry import Telemetry, expose
from serving.tokens import Tokens

folder = Path(sys.argv[1])
case_id, token = "SECRET-CASE-4711", "SECRETTOKEN0123456789"

async def ask(door, roi, authorization, error=None, clinical=None):
    request = CaseRequest(case_id, StoredFiles(folder / "image.zip", folder / roi), clinical or {})
    try:
        async with door.open("http", "predict", authorization=authorization) as ticket:
            if error is not None:
                raise error
            await door.predict(ticket, request)
    except NodogramError:
        pass

async def main():
    configure_logging("json")
    settings = ServerSettings(bundle=folder, case_workers=1, token_file=folder / "tokens")
    bundle = small_bundle()
    pool = CasePool(Measurement.of(bundle), settings)
    await pool.start()
    lifecycle, telemetry = Lifecycle(), Telemetry()
    lifecycle.on_change(telemetry.ready)
    telemetry.bundle(bundle)
    door = FrontDoor(
        settings, lifecycle, Tokens(settings.token_file), Admission(8, 1), Predictor(bundle, pool, None), telemetry
    )
    lifecycle.ready()
    bearer = f"Bearer {token}"
    await ask(door, "roi.dcm", bearer, clinical={"tumour_site": "glottic", "age_years": 61})
    await ask(door, "roi.dcm", bearer)
    await ask(door, "other.dcm", bearer)
    await ask(door, "roi.dcm", bearer + "x")
    await ask(door, "roi.dcm", bearer, ValueError(f"cannot read {case_id!r} for {bearer}"))
    await pool.close()

asyncio.run(main())
print(expose().content.decode())
"""


@pytest.fixture(scope="module")
def requests_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM series with its outline, the outline of another patient, and the tokens."""
    folder = tmp_path_factory.mktemp("requests")
    patient = synthesize_patient(np.random.default_rng(3), signal=1.0, matrix=160, slice_count=40)
    for name, identity in (
        ("roi.dcm", DicomIdentity("SECRET-PATIENT", "a")),
        ("other.dcm", DicomIdentity("SECRET-OTHER", "b")),
    ):
        slices = write_ct_series(folder / name / "ct", patient, identity)
        write_rtstruct(folder / f"{name}.draft", patient, identity, slices)
    with zipfile.ZipFile(folder / "image.zip", "w") as archive:
        for file in sorted((folder / "roi.dcm" / "ct").iterdir()):
            dataset = dcmread(file)
            # What pydicom complains of, quoting it.
            dataset.StudyInstanceUID = "1.2.SECRET-STUDY.03"
            dataset.ImageComments = "SECRET-COMMENT"
            dataset.save_as(file)
            archive.write(file, f"SECRET-NAME/{file.name}")
    for name in ("roi.dcm", "other.dcm"):
        (folder / name).rename(folder / f"{name}.series")
        (folder / f"{name}.draft").rename(folder / name)
    (folder / "tokens").write_text("pacs:SECRETTOKEN0123456789\n")
    return folder


def uids(dataset: Dataset) -> set[str]:
    return {str(element.value) for element in dataset.iterall() if element.VR == "UI"}


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # that is what the fixture is made for
def test_nothing_of_a_patient_reaches_log_or_metrics(requests_folder: Path) -> None:
    done = run(FRONT_DOOR, requests_folder)
    found = events(done.stderr)
    assert [e.get("reason") for e in found if e["logger"] == "nodogram.request"] == [
        "OK", "OK", "ROI_FRAME_OF_REFERENCE_MISMATCH", "UNAUTHENTICATED", None, "INTERNAL",
    ]  # fmt: skip
    assert "cannot read … for Bearer …" in found[-2]["exception"]
    assert found[0]["caller"] == "pacs"
    assert set(found[0]["stage_s"]) >= {"decode", "prepare", "radiomics", "queue", "fuse"}
    assert 'nodogram_predictions_total{answer="score_only"} 1.0' in done.stdout
    said = done.stderr + done.stdout
    identifiers = set[str]()
    for file in (*requests_folder.glob("*.series/ct/*"), *requests_folder.glob("*.dcm")):
        identifiers |= uids(dcmread(file))
    assert len(identifiers) > 80
    assert not [uid for uid in identifiers if uid in said]
    assert "SECRET" not in said
