"""HTTP as clients meet it: real sockets, real files, and whatever a connection can do wrong."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import pytest
from small_model import small_bundle, small_prediction
from small_server import CLINICAL, SmallDoor, serve, small_door, write_case

from nodogram import __version__
from nodogram.case import NoteCode
from nodogram.deep.embed import OnnxBackbone
from nodogram.errors import NodogramError, Reason, ServiceError
from nodogram.imaging.load import load_case
from nodogram.predict import predict
from nodogram.present import prediction_document
from serving.admission import QueueFullError
from serving.documents import (
    ModelDocument,
    NomogramDocument,
    NomogramTermDocument,
    PredictionDocument,
    ProblemDocument,
    model_document,
)
from serving.http_api import build_app
from serving.lifecycle import Lifecycle
from serving.requests import CaseRequest
from serving.status import status_of

TOKEN = "a-token-of-some-length"  # noqa: S105, opens nothing
BOUNDARY = "limit"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
LIMIT_BYTES = 2**21


@pytest.fixture(scope="module")
def case_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_case(tmp_path_factory.mktemp("case"))


@pytest.fixture
def small(tmp_path: Path) -> SmallDoor:
    return small_door(tmp_path, maximum_upload_bytes=LIMIT_BYTES, request_timeout_s=20, maximum_cases=2)


@pytest.fixture
def server(small: SmallDoor) -> Iterator[str]:
    with serve(build_app(small.door)) as address:
        yield address


@pytest.fixture
def client(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, timeout=20) as made:
        yield made


def files_of(case_files: tuple[Path, Path]) -> dict[str, tuple[str, bytes]]:
    image, roi = case_files
    return {"image": (image.name, image.read_bytes()), "roi": (roi.name, roi.read_bytes())}


def check_problem(response: httpx.Response, reason: Reason) -> dict[str, Any]:
    problem = ProblemDocument.model_validate_json(response.content)
    assert response.headers["content-type"] == "application/problem+json"
    assert (problem.reason, problem.status) == (reason, response.status_code)
    assert response.status_code == status_of(reason).http
    assert problem.type == f"urn:nodogram:reason:{reason}"
    assert problem.title == status_of(reason).title
    assert problem.request_id == response.headers["x-request-id"]
    return problem.model_dump()


def test_a_prediction_is_the_document_of_the_core(
    client: httpx.Client, small: SmallDoor, case_files: tuple[Path, Path], tmp_path: Path
) -> None:
    response = client.post(
        "/v1/predict",
        files=files_of(case_files),
        data={"clinical": CLINICAL, "case_id": "Fall 7"},
        headers={"x-request-id": "demo:1"},
    )
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"] == "demo:1"
    found = response.json()
    case = load_case("Fall 7", *case_files, clinical=json.loads(CLINICAL))
    expected = prediction_document(predict(case, small.door.predictor.bundle))
    assert set(found.pop("stage_s")) == {"decode", "prepare", "radiomics", "fuse"}
    del expected["stage_s"]
    assert found == expected
    assert small.count("predict", "OK") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_findings_the_score_alone_unless_the_nomogram_is_required(
    client: httpx.Client, case_files: tuple[Path, Path]
) -> None:
    response = client.post("/v1/predict", files=files_of(case_files))
    assert response.json()["probability"] is None
    assert response.json()["case_id"] == response.headers["x-request-id"]
    assert NoteCode.CLINICAL_PREDICTOR_MISSING in [note["code"] for note in response.json()["notes"]]
    response = client.post("/v1/predict", files=files_of(case_files), data={"nomogram_required": "true"})
    assert "tumour_site" in check_problem(response, Reason.CLINICAL_PREDICTOR_MISSING)["detail"]


@pytest.mark.parametrize("prediction", [small_prediction(), small_prediction(age=None, notes=(NoteCode.OUT_OF_RANGE,))])
def test_the_described_document_is_the_one_the_core_writes(prediction: Any) -> None:
    document = prediction_document(prediction)
    assert PredictionDocument.model_validate(document).model_dump(mode="json") == document


def test_the_model_is_described(client: httpx.Client, small: SmallDoor) -> None:
    response = client.get("/v1/model")
    model = ModelDocument.model_validate_json(response.content)
    manifest = small.door.predictor.bundle.manifest
    assert (model.name, model.digest, model.server_version) == (manifest.name, manifest.digest, __version__)
    assert [p.name for p in model.predictors] == ["tumour_site", "age_years"]
    assert (model.predictors[0].kind, model.predictors[0].levels, model.predictors[0].reference) == (
        "categorical",
        ("glottic", "supraglottic"),
        "glottic",
    )
    assert (model.predictors[1].unit, model.predictors[1].range) == ("years", (0, 120))
    assert model.thresholds[0].rule == "fixed"
    assert (model.provider.wanted, model.provider.active) == ("cpu", None)
    assert model.acquisition.slice_spacing_mm == (0.1, 9)
    assert (model.training.development_count, model.training.development_event_count) == (400, 200)


def test_the_provider_in_use_is_the_one_the_backbone_names() -> None:
    # A GPU cannot be had here: of the backbone only what it says of itself is there.
    backbone = cast(OnnxBackbone, SimpleNamespace(provider="CPUExecutionProvider"))
    provider = model_document(replace(small_bundle(), backbone=backbone), "cuda").provider
    assert (provider.wanted, provider.active) == ("cuda", "CPUExecutionProvider")


def test_the_nomogram_can_be_computed_from_its_document(client: httpx.Client, small: SmallDoor) -> None:
    response = client.get("/v1/nomogram")
    document = NomogramDocument.model_validate_json(response.content)
    nomogram = small.door.predictor.bundle.nomogram
    terms = [NomogramTermDocument.model_validate(term.model_dump()) for term in nomogram.terms]
    assert (document.intercept, list(document.terms), document.formula) == (nomogram.intercept, terms, nomogram.formula())
    assert document.points_per_log_odds == nomogram.points_per_log_odds == 25


def test_the_front_page_leads_on(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for address in ("v1/openapi.json", "v1/model", "v1/nomogram", "metrics"):
        assert f'href="{address}"' in page.text
    assert page.headers["x-request-id"]
    assert client.get("/v1/openapi.json").headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "reason", "allow"),
    [
        ("GET", "/v2", Reason.ENDPOINT_UNKNOWN, None),
        ("GET", "/v1/model/", Reason.ENDPOINT_UNKNOWN, None),
        ("GET", "/docs", Reason.ENDPOINT_UNKNOWN, None),
        ("GET", "/v1/%2e%2e/%2fetc/passwd", Reason.ENDPOINT_UNKNOWN, None),
        ("GET", "/v1/predict", Reason.METHOD_NOT_ALLOWED, "POST"),
        ("POST", "/v1/model", Reason.METHOD_NOT_ALLOWED, "GET"),
        ("DELETE", "/v1/nomogram", Reason.METHOD_NOT_ALLOWED, "GET"),
        ("BREW", "/", Reason.METHOD_NOT_ALLOWED, "GET"),
    ],
)
def test_what_the_framework_refuses_is_a_problem_too(
    client: httpx.Client, method: str, path: str, reason: Reason, allow: str | None
) -> None:
    response = client.request(method, path, headers={"x-request-id": "mine"})
    assert check_problem(response, reason)["request_id"] == "mine"
    assert response.headers.get("allow") == allow


def test_a_request_id_that_is_no_plain_word_is_replaced(client: httpx.Client) -> None:
    for given in ("a b", "x" * 129, "<script>", ""):
        found = client.get("/v1/model", headers={"x-request-id": given}).headers["x-request-id"]
        assert found != given
        assert len(found) == 32


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/model"), ("GET", "/v1/nomogram"), ("POST", "/v1/predict")])
def test_a_timeout_that_is_no_time_is_refused(client: httpx.Client, small: SmallDoor, method: str, path: str) -> None:
    wrong = ("0", "-1", "nan", "inf", "1e999", "abc", "", "1_0", "0x10", "1;2")
    for given in wrong:
        response = client.request(method, path, headers={"x-request-timeout-s": given})
        assert "x-request-timeout-s" in check_problem(response, Reason.REQUEST_INVALID)["detail"]
    assert small.count(path.rsplit("/", 1)[1], "REQUEST_INVALID") == len(wrong)


def test_a_timeout_of_the_caller_ends_the_work(client: httpx.Client, small: SmallDoor, case_files: tuple[Path, Path]) -> None:
    async def forever(_: CaseRequest) -> None:
        await asyncio.sleep(60)

    small.pool.before = forever
    start = time.monotonic()
    response = client.post("/v1/predict", files=files_of(case_files), headers={"x-request-timeout-s": "0.3"})
    check_problem(response, Reason.DEADLINE_EXCEEDED)
    assert time.monotonic() - start < 3
    assert small.pool.cancelled.is_set()
    assert small.door.admission.inside == 0


def test_every_reason_is_said_with_its_status(client: httpx.Client, small: SmallDoor, case_files: tuple[Path, Path]) -> None:
    reasons = iter(Reason)

    async def refuse(_: CaseRequest) -> None:
        raise NodogramError(next(reasons), "found \udcff, required µ")

    small.pool.before = refuse
    for reason in Reason:
        response = client.post("/v1/predict", files=files_of(case_files))
        assert check_problem(response, reason)["detail"] == "found ?, required µ"
        assert small.count("predict", reason) == 1


def test_an_unexpected_error_tells_the_client_nothing(
    client: httpx.Client, small: SmallDoor, case_files: tuple[Path, Path]
) -> None:
    async def break_down(_: CaseRequest) -> None:
        raise LookupError("secret")

    small.pool.before = break_down
    problem = check_problem(client.post("/v1/predict", files=files_of(case_files)), Reason.INTERNAL)
    assert "secret" not in problem["detail"]
    assert problem["request_id"] in problem["detail"]


def test_an_error_outside_the_front_door_is_a_problem_with_an_id(small: SmallDoor) -> None:
    app = build_app(small.door)

    async def break_down() -> None:
        raise LookupError("secret")

    app.add_api_route("/broken", break_down)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/broken", headers={"x-request-id": "mine"})

    response = asyncio.run(ask())
    assert check_problem(response, Reason.INTERNAL)["request_id"] == "mine"
    assert "secret" not in response.text


def test_findings_are_refused_before_the_image_is_read(client: httpx.Client, small: SmallDoor) -> None:
    files = {"image": ("x.nii", b"no image"), "roi": ("x.nii", b"no outline")}
    response = client.post("/v1/predict", files=files, data={"clinical": '{"smoker": "yes"}'})
    check_problem(response, Reason.CLINICAL_PREDICTOR_UNKNOWN)
    response = client.post("/v1/predict", files=files)
    check_problem(response, Reason.UNREADABLE_FILE)
    assert len(small.pool.seen) == 1


def test_no_answer_before_the_server_is_ready(tmp_path: Path, case_files: tuple[Path, Path]) -> None:
    small = small_door(tmp_path)
    small.door.lifecycle = Lifecycle()
    with serve(build_app(small.door)) as address:
        for method, path in (("POST", "/v1/predict"), ("GET", "/v1/model"), ("GET", "/v1/nomogram")):
            check_problem(httpx.request(method, f"{address}{path}"), Reason.NOT_READY)
        assert httpx.get(f"{address}/v1/openapi.json").status_code == 200


def test_tokens_are_asked_for_before_anything_is_read(tmp_path: Path, case_files: tuple[Path, Path]) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"pacs:{TOKEN}\n")
    small = small_door(tmp_path, token_file=path)
    with serve(build_app(small.door)) as address:
        for given in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": "Basic xyz"}):
            response = httpx.post(f"{address}/v1/predict", files=files_of(case_files), headers=given)
            check_problem(response, Reason.UNAUTHENTICATED)
            assert response.headers["www-authenticate"].startswith("Bearer")
            check_problem(httpx.get(f"{address}/v1/model", headers=given), Reason.UNAUTHENTICATED)
        given = {"authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{address}/v1/model", headers=given).status_code == 200
        assert httpx.post(f"{address}/v1/predict", files=files_of(case_files), headers=given).status_code == 200
        assert httpx.get(f"{address}/").status_code == httpx.get(f"{address}/v1/openapi.json").status_code == 200
    assert len(small.pool.seen) == 1


def test_a_full_queue_says_when_to_come_back(client: httpx.Client, small: SmallDoor) -> None:
    places = [small.door.admission.place() for _ in range(2)]
    for place in places:
        place.__enter__()
    response = client.post("/v1/predict", files={"image": ("x.nii", b"x" * 2**20), "roi": ("x.nii", b"x")})
    check_problem(response, Reason.QUEUE_FULL)
    assert int(response.headers["retry-after"]) >= 1
    for place in places:
        place.__exit__(None, None, None)
    check_problem(client.post("/v1/predict", files={"image": ("x.nii", b"x"), "roi": ("x.nii", b"x")}), Reason.UNREADABLE_FILE)


def test_a_queue_that_fills_during_the_upload_says_so(
    client: httpx.Client, small: SmallDoor, case_files: tuple[Path, Path]
) -> None:
    async def full(_: CaseRequest) -> None:
        raise QueueFullError(2, 7)

    small.pool.before = full
    response = client.post("/v1/predict", files=files_of(case_files))
    check_problem(response, Reason.QUEUE_FULL)
    assert response.headers["retry-after"] == "7"


class Connection:
    """A client that follows no library."""

    def __init__(self, server: str) -> None:
        address = urlsplit(server)
        assert address.hostname is not None
        self._socket = socket.create_connection((address.hostname, address.port or 80), timeout=20)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def begin(self, *headers: str, content_type: str = CONTENT_TYPE) -> None:
        lines = ("POST /v1/predict HTTP/1.1", "host: test", f"content-type: {content_type}", *headers, "", "")
        self.send("\r\n".join(lines).encode())

    def chunk(self, data: bytes) -> None:
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def answer(self) -> httpx.Response:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        while len(body) < int(headers["content-length"]):
            body += self._receive()
        return httpx.Response(int(status.split()[1]), headers=headers, content=body)

    def _receive(self) -> bytes:
        data = self._socket.recv(2**16)
        if not data:
            raise ConnectionError("closed before an answer")
        return data

    def is_closed(self) -> bool:
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def connection(server: str) -> Iterator[Connection]:
    made = Connection(server)
    yield made
    made.close()


def part(name: str, content: bytes, client_name: str = "x.nii") -> bytes:
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"; filename="{client_name}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def test_a_body_without_a_length_is_refused_at_its_limit(connection: Connection, tmp_path: Path) -> None:
    connection.begin("transfer-encoding: chunked")
    connection.chunk(part("image", b"")[:-2])
    for _ in range(LIMIT_BYTES // 2**16 + 1):
        connection.chunk(b"\0" * 2**16)
    check_problem(connection.answer(), Reason.REQUEST_TOO_LARGE)
    assert list(tmp_path.iterdir()) == []


def test_an_announced_length_beyond_the_limit_is_refused_before_it_is_sent(connection: Connection) -> None:
    start = time.monotonic()
    connection.begin(f"content-length: {LIMIT_BYTES + 1}", "expect: 100-continue")
    response = connection.answer()
    assert response.status_code == 413, "no 100 (Continue) was sent"
    check_problem(response, Reason.REQUEST_TOO_LARGE)
    assert response.headers["connection"] == "close"
    assert time.monotonic() - start < 2


def test_a_client_that_sends_on_after_a_refusal_still_reads_why(client: httpx.Client, small: SmallDoor) -> None:
    """Much more than the sockets hold, so that the client cannot be done sending when the server refuses."""
    body = (b"\0" * 2**20 for _ in range(24))
    response = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    check_problem(response, Reason.UNSUPPORTED_FORMAT)
    body = (b"\0" * 2**20 for _ in range(24))
    check_problem(client.post("/v1/nothing", content=body), Reason.ENDPOINT_UNKNOWN)


def test_a_slow_client_is_given_up_at_the_deadline(connection: Connection, small: SmallDoor, tmp_path: Path) -> None:
    connection.begin("content-length: 100000", "x-request-timeout-s: 0.5")
    connection.send(part("image", b"")[:-2])
    start = time.monotonic()
    while time.monotonic() - start < 0.4:
        connection.send(b"\0")
        time.sleep(0.05)
    check_problem(connection.answer(), Reason.DEADLINE_EXCEEDED)
    assert 0.4 < time.monotonic() - start < 2
    assert list(tmp_path.iterdir()) == []


def test_a_refused_client_that_never_stops_is_cut_off(
    connection: Connection, small: SmallDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.http_api._DRAIN_S", 0.3)
    connection.begin("content-length: 1000000", content_type="text/plain")
    check_problem(connection.answer(), Reason.UNSUPPORTED_FORMAT)
    start = time.monotonic()
    assert connection.is_closed()
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("end", [b"", b"--limi", b"--limit", b"--limit\r\n", b"--limit-"])
def test_a_truncated_body_is_refused(connection: Connection, end: bytes) -> None:
    body = part("image", b"x") + part("roi", b"x") + end
    connection.begin(f"content-length: {len(body)}")
    connection.send(body)
    assert "boundary" in check_problem(connection.answer(), Reason.REQUEST_INVALID)["detail"]


def test_a_wrong_boundary_is_refused(connection: Connection) -> None:
    body = part("image", b"x") + END
    connection.begin(f"content-length: {len(body)}", content_type="multipart/form-data; boundary=other")
    connection.send(body)
    check_problem(connection.answer(), Reason.REQUEST_INVALID)


def test_a_client_that_leaves_during_the_upload_is_counted(connection: Connection, small: SmallDoor, tmp_path: Path) -> None:
    connection.begin("content-length: 1000")
    connection.send(part("image", b"x"))
    connection.close()
    small.wait_for_count("predict", Reason.CANCELLED)
    assert list(tmp_path.iterdir()) == []


def test_the_work_for_a_client_that_leaves_is_given_up(connection: Connection, small: SmallDoor, tmp_path: Path) -> None:
    async def forever(_: CaseRequest) -> None:
        await asyncio.sleep(60)

    small.pool.before = forever
    body = part("image", b"x") + part("roi", b"x") + END
    connection.begin(f"content-length: {len(body)}")
    connection.send(body)
    end = time.monotonic() + 5
    while not small.pool.seen:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert small.door.admission.inside == 1
    connection.close()
    assert small.pool.cancelled.wait(5)
    small.wait_for_count("predict", Reason.CANCELLED)
    assert small.door.admission.inside == 0
    assert list(tmp_path.iterdir()) == []


def test_one_connection_serves_many_requests(server: str, case_files: tuple[Path, Path]) -> None:
    with httpx.Client(base_url=server, limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(3):
            assert client.post("/v1/predict", files=files_of(case_files)).status_code == 200
            assert client.get("/v1/model").status_code == 200
            response = client.post("/v1/predict", files={"image": ("x.nii", b"x")})
            check_problem(response, Reason.REQUEST_INVALID)
            assert response.headers.get("connection") is None


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_large_uploads_are_streamed_to_disk(tmp_path: Path) -> None:
    small = small_door(tmp_path, maximum_upload_bytes=2**28)
    seen: list[tuple[int, float]] = []

    async def look(request: CaseRequest) -> None:
        seen.append((max(path.stat().st_size for path in tmp_path.rglob("*")), resident_mib()))
        raise ServiceError(Reason.NOT_READY, "seen")

    small.pool.before = look

    def body() -> Iterator[bytes]:
        yield part("image", b"")[:-2]
        for _ in range(200):
            yield b"\0" * 2**20
        yield b"\r\n" + part("roi", b"x") + END

    with serve(build_app(small.door)) as address:
        before = resident_mib()
        response = httpx.post(f"{address}/v1/predict", content=body(), headers={"content-type": CONTENT_TYPE}, timeout=60)
    check_problem(response, Reason.NOT_READY)
    ((stored, resident),) = seen
    assert stored == 200 * 2**20
    assert resident - before < 50
