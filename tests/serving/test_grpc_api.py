"""gRPC as clients meet it: real sockets, real files, and whatever a call can do wrong."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from nodogram_api.v1 import nomogram_pb2 as pb
from nodogram_api.v1.nomogram_pb2_grpc import NomogramServiceStub
from small_grpc import CLINICAL, Refusal, Running, header, read_files, region, serve_grpc, stream
from small_model import small_bundle
from small_server import SmallDoor, small_door, write_case

from nodogram.case import Case
from nodogram.errors import NodogramError, Reason, SettingsError
from nodogram.imaging.load import load_case
from nodogram.predict import predict
from serving import wire
from serving.chunks import MAXIMUM_CHUNK_BYTES, MAXIMUM_REGION_BYTES
from serving.documents import model_document
from serving.grpc_api import SERVICE, start_grpc
from serving.lifecycle import Lifecycle
from serving.requests import CaseRequest, StoredFiles, StoredRegion
from serving.status import status_of

TOKEN = "a-token-of-some-length"  # noqa: S105, opens nothing
LIMIT_BYTES = 2**21
UNKNOWN = wire.clinical_message({"age": 60.0})
NOT_SERVING, SERVING = health_pb2.HealthCheckResponse.NOT_SERVING, health_pb2.HealthCheckResponse.SERVING


@pytest.fixture(scope="module")
def case_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def case(case_files: tuple[Path, Path]) -> Case:
    return load_case("a case", *case_files, clinical=CLINICAL)


@pytest.fixture
def small(tmp_path: Path) -> SmallDoor:
    return small_door(tmp_path, grpc_port=0, maximum_upload_bytes=LIMIT_BYTES, request_timeout_s=20, maximum_cases=2)


@pytest.fixture
def running(small: SmallDoor) -> Iterator[Running]:
    with serve_grpc(small) as server:
        yield server


def numbers(message: pb.Prediction) -> dict[str, Any]:
    found = MessageToDict(message, preserving_proto_field_name=True)
    del found["stage_s"]
    return found


def refusal(call: Callable[[], Any]) -> Refusal:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return Refusal.of(refused.value)


def count(small: SmallDoor, method: str, reason: str) -> float:
    labels = {"protocol": "grpc", "method": method, "reason": reason}
    return small.registry.get_sample_value("nodogram_requests_total", labels) or 0.0


def wait_until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def test_a_case_in_chunks_is_predicted_as_from_files(
    running: Running, small: SmallDoor, case: Case, case_files: tuple[Path, Path], tmp_path: Path
) -> None:
    answer = running.stub.Predict(stream(*read_files(case_files), chunk=1000, roi_name="1")).prediction
    assert numbers(answer) == numbers(wire.prediction_message(predict(case, small_bundle())))
    (asked,) = small.pool.seen
    assert isinstance(asked.source, StoredFiles)
    assert (asked.source.image.name, asked.source.roi.name) == ("image.nii.gz", "roi.nii.gz")
    assert (asked.case_id, asked.source.roi_name, asked.nomogram_required) == ("a case", "1", False)
    assert list(tmp_path.iterdir()) == []
    assert count(small, "predict", "OK") == 1


def test_a_region_is_predicted_as_the_same_voxels_from_files(
    running: Running, small: SmallDoor, case: Case, tmp_path: Path
) -> None:
    answer = running.stub.PredictRegion(region(case)).prediction
    assert numbers(answer) == numbers(wire.prediction_message(predict(case, small_bundle())))
    (asked,) = small.pool.seen
    assert isinstance(asked.source, StoredRegion)
    assert asked.source.geometry.is_same_grid(case.volume.geometry)
    assert list(tmp_path.iterdir()) == []
    assert count(small, "predict_region", "OK") == 1


def test_the_model_is_what_http_says_it_is(running: Running, small: SmallDoor) -> None:
    found = running.stub.GetModel(pb.GetModelRequest())
    assert found == wire.model_message(model_document(small_bundle(), "cpu"))
    assert count(small, "model", "OK") == 1


def test_without_a_finding_the_score_stands_alone(running: Running, case: Case) -> None:
    answer = running.stub.PredictRegion(region(case, clinical={})).prediction
    assert not answer.HasField("probability")
    assert [note.code for note in answer.notes] == ["CLINICAL_PREDICTOR_MISSING"]


@pytest.mark.parametrize(("given", "is_kept"), [("ask-1:2.3_4", True), ("not one word", False), ("", False)])
def test_the_request_id_comes_back(running: Running, case: Case, given: str, is_kept: bool) -> None:
    metadata = (("x-request-id", given),)
    answer, call = running.stub.PredictRegion.with_call(region(case, case_id=""), metadata=metadata)
    returned = dict(call.trailing_metadata())["x-request-id"]
    assert answer.prediction.case_id == returned
    assert (returned == given) is is_kept
    refused = refusal(lambda: running.stub.PredictRegion(pb.PredictRegionRequest(), metadata=metadata))
    assert (refused.request_id == given) is is_kept


def chunk(image: bytes = b"", roi: bytes = b"") -> pb.PredictRequest:
    return pb.PredictRequest(roi_chunk=roi) if roi else pb.PredictRequest(image_chunk=image)


@pytest.mark.parametrize(
    ("messages", "reason", "words"),
    [
        ([], Reason.REQUEST_INVALID, "empty"),
        ([pb.PredictRequest()], Reason.REQUEST_INVALID, "neither header nor chunk"),
        ([chunk(b"1")], Reason.REQUEST_INVALID, "no header"),
        ([header(), header()], Reason.REQUEST_INVALID, "second header"),
        ([header()], Reason.REQUEST_INVALID, "first chunk of the image"),
        ([header(), chunk(b"1")], Reason.REQUEST_INVALID, "first chunk of the outline"),
        ([header(), chunk(roi=b"1"), chunk(b"1")], Reason.REQUEST_INVALID, "image is required first"),
        ([header(), chunk(b"")], Reason.REQUEST_INVALID, "chunk is empty"),
        ([header(), chunk(bytes(MAXIMUM_CHUNK_BYTES + 1))], Reason.REQUEST_TOO_LARGE, "262144"),
        ([header(), chunk(bytes(2**20))], Reason.REQUEST_TOO_LARGE, "262144"),
        ([header(), *[chunk(bytes(MAXIMUM_CHUNK_BYTES))] * 8], Reason.REQUEST_TOO_LARGE, str(LIMIT_BYTES)),
        ([header(image_format=0)], Reason.UNSUPPORTED_FORMAT, ".zip"),
        ([header(roi_format=9)], Reason.UNSUPPORTED_FORMAT, ".dcm"),
        ([header(case_id="x" * 129), chunk(b"1"), chunk(roi=b"1")], Reason.REQUEST_INVALID, "case_id"),
        ([header(roi_name="a\nb"), chunk(b"1"), chunk(roi=b"1")], Reason.REQUEST_INVALID, "roi_name"),
        (
            [header(clinical={"age_years": pb.ClinicalValue()}), chunk(b"1"), chunk(roi=b"1")],
            Reason.REQUEST_INVALID,
            "neither a level nor a number",
        ),
        ([header(clinical=UNKNOWN), chunk(b"1"), chunk(roi=b"1")], Reason.CLINICAL_PREDICTOR_UNKNOWN, "age"),
        ([header(clinical={}, nomogram_required=True), chunk(b"1"), chunk(roi=b"1")], Reason.CLINICAL_PREDICTOR_MISSING, ""),
        ([header(), chunk(b"1"), chunk(roi=b"1")], Reason.UNREADABLE_FILE, ""),
    ],
)  # fmt: skip
def test_a_wrong_stream_is_refused(
    running: Running, small: SmallDoor, tmp_path: Path, messages: list[pb.PredictRequest], reason: Reason, words: str
) -> None:
    refused = refusal(lambda: running.stub.Predict(iter(messages)))
    assert (refused.reason, refused.domain, refused.code) == (reason, "nodogram", grpc.StatusCode.INVALID_ARGUMENT)
    assert words in refused.message
    assert list(tmp_path.iterdir()) == []
    assert count(small, "predict", reason) == 1


def test_the_largest_chunk_is_taken(running: Running) -> None:
    messages = [header(), chunk(bytes(MAXIMUM_CHUNK_BYTES)), chunk(roi=b"1")]
    assert refusal(lambda: running.stub.Predict(iter(messages))).reason == Reason.UNREADABLE_FILE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hu": b"1"}, Reason.REQUEST_INVALID),
        ({"mask": b""}, Reason.REQUEST_INVALID),
        ({"geometry": None}, Reason.GEOMETRY_INVALID),
        ({"geometry": pb.Geometry(shape=(2**31,) * 3)}, Reason.GEOMETRY_INVALID),
        ({"mask": bytes(24 * 40 * 40)}, Reason.ROI_EMPTY),
        ({"clinical": {}, "nomogram_required": True}, Reason.CLINICAL_PREDICTOR_MISSING),
        ({"case_id": "\x00"}, Reason.REQUEST_INVALID),
        ({"hu": bytes(LIMIT_BYTES)}, Reason.REQUEST_TOO_LARGE),
        ({"hu": bytes(MAXIMUM_REGION_BYTES)}, Reason.REQUEST_TOO_LARGE),
    ],
)
def test_a_wrong_region_is_refused(
    running: Running, small: SmallDoor, case: Case, tmp_path: Path, changes: dict[str, Any], reason: Reason
) -> None:
    refused = refusal(lambda: running.stub.PredictRegion(region(case, **changes)))
    assert (refused.reason, refused.code) == (reason, grpc.StatusCode.INVALID_ARGUMENT)
    assert list(tmp_path.iterdir()) == []
    assert count(small, "predict_region", reason) == 1


def test_a_grid_of_more_voxels_than_fit_anywhere_is_refused(running: Running, case: Case) -> None:
    message = region(case)
    message.geometry.shape[:] = [2**32 - 1] * 3
    assert refusal(lambda: running.stub.PredictRegion(message)).reason == Reason.IMAGE_TOO_LARGE


def test_beyond_what_is_received_at_all_grpc_itself_refuses(running: Running, small: SmallDoor) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        running.channel.unary_unary(f"/{SERVICE}/PredictRegion")(bytes(MAXIMUM_REGION_BYTES + 2**21))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    wait_until(lambda: count(small, "predict_region", Reason.CANCELLED), "the call was not ended")


@pytest.mark.parametrize("method", ["Predict", "PredictRegion", "GetModel"])
@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 1000, bytes(range(256))])
def test_bytes_that_are_no_message_are_the_callers_error(running: Running, method: str, raw: bytes) -> None:
    refused = refusal(lambda: running.channel.unary_unary(f"/{SERVICE}/{method}")(raw))
    assert (refused.reason, refused.code) == (Reason.REQUEST_INVALID, grpc.StatusCode.INVALID_ARGUMENT)


@pytest.mark.parametrize("method", ["Predict", "PredictRegion", "GetModel"])
def test_a_call_without_a_message_is_refused(running: Running, method: str) -> None:
    nothing: Iterable[bytes] = ()
    refused = refusal(lambda: running.channel.stream_unary(f"/{SERVICE}/{method}")(iter(nothing)))
    assert refused.reason == Reason.REQUEST_INVALID


@pytest.mark.parametrize("method", [f"/{SERVICE}/Train", "/nodogram_api.v2.NomogramService/Predict", "/a/b"])
def test_there_is_nothing_at_other_addresses(running: Running, method: str) -> None:
    refused = refusal(lambda: running.channel.unary_unary(method)(b""))
    assert (refused.reason, refused.code) == (Reason.ENDPOINT_UNKNOWN, grpc.StatusCode.UNIMPLEMENTED)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_code(running: Running, small: SmallDoor, case: Case, reason: Reason) -> None:
    async def fail(_: CaseRequest) -> None:
        raise NodogramError(reason, "found; required")

    small.pool.before = fail
    refused = refusal(lambda: running.stub.PredictRegion(region(case)))
    assert (refused.code, refused.reason, refused.message) == (status_of(reason).grpc, reason, "found; required")
    assert refused.retry_after_s is None


def test_what_nobody_expected_is_internal_and_says_nothing(running: Running, small: SmallDoor, case: Case) -> None:
    async def fail(_: CaseRequest) -> None:
        raise ZeroDivisionError("a secret")

    small.pool.before = fail
    refused = refusal(lambda: running.stub.PredictRegion(region(case)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, Reason.INTERNAL)
    assert "secret" not in refused.message
    assert refused.request_id in refused.message


def test_a_long_text_of_an_error_arrives(running: Running) -> None:
    names = [f"größe_{number}" for number in range(2000)]
    message = header(clinical=wire.clinical_message(dict.fromkeys(names, 1.0)))
    refused = refusal(lambda: running.stub.Predict(iter([message, chunk(b"1"), chunk(roi=b"1")])))
    assert refused.reason == Reason.CLINICAL_PREDICTOR_UNKNOWN
    assert len(refused.message.encode()) <= wire.MAXIMUM_MESSAGE_BYTES


def hold(small: SmallDoor, running: Running) -> Callable[[], object]:
    """Keep every case from being measured until the returned function is called."""
    opened = running.run(_event())

    async def wait(_: CaseRequest) -> None:
        await opened.wait()

    small.pool.before = wait
    return lambda: running.loop.call_soon_threadsafe(opened.set)


async def _event() -> asyncio.Event:
    return asyncio.Event()


def test_a_full_queue_is_said_before_anything_is_read(
    running: Running, small: SmallDoor, case: Case, case_files: tuple[Path, Path]
) -> None:
    release = hold(small, running)
    inside = [running.stub.PredictRegion.future(region(case)) for _ in range(2)]
    wait_until(lambda: len(small.pool.seen) == 2, "two cases are not inside")
    for call in (
        lambda: running.stub.PredictRegion(region(case)),
        lambda: running.stub.Predict(stream(*read_files(case_files))),
        lambda: running.stub.Predict(iter([])),
    ):
        refused = refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.QUEUE_FULL)
        assert refused.retry_after_s == 1
        assert refused.trailing["grpc-retry-pushback-ms"] == "1000"
    assert running.stub.GetModel(pb.GetModelRequest()).name == "small"
    release()
    assert all(call.result(10).prediction.outcome == "lnm" for call in inside)


def test_a_retry_policy_of_the_client_gets_through(running: Running, small: SmallDoor, case: Case) -> None:
    policy = """{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.1s",
        "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["RESOURCE_EXHAUSTED"]}}]}"""
    release = hold(small, running)
    inside = [running.stub.PredictRegion.future(region(case)) for _ in range(2)]
    wait_until(lambda: len(small.pool.seen) == 2, "two cases are not inside")
    with grpc.insecure_channel(running.target, options=[("grpc.service_config", policy)]) as patient:
        late = NomogramServiceStub(patient).PredictRegion.future(region(case))
        wait_until(lambda: count(small, "predict_region", Reason.QUEUE_FULL), "the queue was not full")
        release()
        assert late.result(10).prediction.outcome == "lnm"
    assert all(call.result(10) for call in inside)


def test_the_deadline_of_the_caller_is_kept_and_its_reason_said(running: Running, small: SmallDoor, case: Case) -> None:
    release = hold(small, running)
    refused = refusal(lambda: running.stub.PredictRegion(region(case), timeout=0.4))
    assert (refused.code, refused.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.DEADLINE_EXCEEDED)
    assert small.pool.cancelled.wait(5)
    assert count(small, "predict_region", Reason.DEADLINE_EXCEEDED) == 1
    release()


def test_the_limit_of_the_server_holds_for_a_slow_sender(tmp_path: Path) -> None:
    small = small_door(tmp_path, grpc_port=0, request_timeout_s=0.3)
    sent = threading.Event()

    def slowly() -> Iterator[pb.PredictRequest]:
        yield header()
        sent.wait(10)

    with serve_grpc(small) as running:
        refused = refusal(lambda: running.stub.Predict(slowly()))
        assert refused.reason == Reason.DEADLINE_EXCEEDED
        sent.set()
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_call_ends_the_work(running: Running, small: SmallDoor, case: Case, tmp_path: Path) -> None:
    release = hold(small, running)
    call = running.stub.PredictRegion.future(region(case))
    wait_until(lambda: small.pool.seen, "the case is not inside")
    call.cancel()
    assert small.pool.cancelled.wait(5)
    wait_until(lambda: count(small, "predict_region", Reason.CANCELLED), "the call was not counted")
    wait_until(lambda: not list(tmp_path.iterdir()), "its files are still there")
    assert small.door.admission.inside == 0
    release()


def test_a_cancelled_upload_is_no_ended_one(running: Running, small: SmallDoor, tmp_path: Path) -> None:
    rest = threading.Event()

    def sending() -> Iterator[pb.PredictRequest]:
        yield header()
        yield chunk(b"1")
        rest.wait(10)

    for _ in range(20):
        call = running.stub.Predict.future(sending())
        wait_until(lambda: list(tmp_path.glob("*/image.nii.gz")), "nothing has arrived")
        call.cancel()
        wait_until(lambda: not list(tmp_path.iterdir()), "its files are still there")
    rest.set()
    wait_until(lambda: count(small, "predict", Reason.CANCELLED) == 20, "not every call was counted as cancelled")
    assert count(small, "predict", Reason.REQUEST_INVALID) == 0


def test_many_callers_on_one_connection_get_their_own_answers(tmp_path: Path, case: Case) -> None:
    small = small_door(tmp_path, grpc_port=0, maximum_cases=64)
    with serve_grpc(small) as running, ThreadPoolExecutor(16) as callers:
        ages = [40.0 + number for number in range(32)]
        records = [wire.clinical_message({**CLINICAL, "age_years": age}) for age in ages]
        answers = list(callers.map(lambda clinical: running.stub.PredictRegion(region(case, clinical=clinical)), records))
    found = [answer.prediction.linear_predictor for answer in answers]
    np.testing.assert_allclose(found, [0.1 * age for age in ages], rtol=1e-12)


@pytest.mark.parametrize(
    ("given", "is_taken"), [(None, False), (f"Bearer {TOKEN}", True), ("Bearer wrong-token-of-some-length", False)]
)
def test_a_token_is_asked_for_before_anything_is_read(tmp_path: Path, case: Case, given: str | None, is_taken: bool) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"somebody:{TOKEN}\n")
    small = small_door(tmp_path, grpc_port=0, token_file=tokens)
    metadata = () if given is None else (("authorization", given),)
    with serve_grpc(small) as running:
        if is_taken:
            assert running.stub.PredictRegion(region(case), metadata=metadata).prediction.outcome == "lnm"
        else:
            refused = refusal(lambda: running.stub.PredictRegion(pb.PredictRegionRequest(), metadata=metadata))
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, Reason.UNAUTHENTICATED)
        assert check_health(running, "") == SERVING
        assert SERVICE in list_services(running)


def check_health(running: Running, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(running.channel)
    status: int = stub.Check(health_pb2.HealthCheckRequest(service=service)).status
    return status


def list_services(running: Running) -> set[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
    (answer,) = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    return {service.name for service in answer.list_services_response.service}


def test_health_follows_readiness(small: SmallDoor) -> None:
    small.door.lifecycle = Lifecycle()
    with serve_grpc(small) as running:
        assert [check_health(running, name) for name in ("", SERVICE)] == [NOT_SERVING] * 2
        assert refusal(lambda: running.stub.GetModel(pb.GetModelRequest())).reason == Reason.NOT_READY
        watch = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert next(watch).status == NOT_SERVING
        running.loop.call_soon_threadsafe(small.door.lifecycle.ready)
        assert next(watch).status == SERVING
        assert running.stub.GetModel(pb.GetModelRequest()).name == "small"
        running.loop.call_soon_threadsafe(small.door.lifecycle.drain)
        assert next(watch).status == NOT_SERVING
        # Not ready, but serving: balancers need a moment.
        assert running.stub.GetModel(pb.GetModelRequest()).name == "small"
        assert check_health(running, "") == NOT_SERVING


def test_reflection_describes_the_service(running: Running) -> None:
    assert list_services(running) == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)
    (answer,) = stub.ServerReflectionInfo(iter([request]))
    assert answer.file_descriptor_response.file_descriptor_proto == [pb.DESCRIPTOR.serialized_pb]


def test_stopping_finishes_what_is_inside_and_waits_for_no_watcher(running: Running, small: SmallDoor, case: Case) -> None:
    release = hold(small, running)
    call = running.stub.PredictRegion.future(region(case))
    wait_until(lambda: small.pool.seen, "the case is not inside")
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == SERVING
    stopping = asyncio.run_coroutine_threadsafe(running.server.stop(30), running.loop)
    assert next(watch).status == NOT_SERVING
    time.sleep(0.1)
    assert not stopping.done()
    release()
    assert call.result(10).prediction.outcome == "lnm"
    stopping.result(5)


def test_the_end_of_the_grace_cancels(running: Running, small: SmallDoor, case: Case) -> None:
    release = hold(small, running)
    call = running.stub.PredictRegion.future(region(case))
    wait_until(lambda: small.pool.seen, "the case is not inside")
    running.run(running.server.stop(0.2), 5)
    assert small.pool.cancelled.wait(5)
    assert call.exception(5).code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    release()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def secured(folder: Path, authority: trustme.CA, *, is_mutual: bool) -> SmallDoor:
    server = authority.issue_cert("127.0.0.1")
    certificate, key, client_ca = folder / "server.pem", folder / "server.key", folder / "ca.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in server.cert_chain_pems))
    server.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(client_ca)
    mutual = {"tls_client_ca": client_ca} if is_mutual else {}
    return small_door(folder, grpc_port=0, tls_certificate=certificate, tls_key=key, **mutual)


def ask(running: Running, credentials: grpc.ChannelCredentials) -> str:
    with grpc.secure_channel(running.target, credentials) as channel:
        model: pb.Model = NomogramServiceStub(channel).GetModel(pb.GetModelRequest(), timeout=5)
    return model.name


def test_tls(tmp_path: Path, authority: trustme.CA) -> None:
    with serve_grpc(secured(tmp_path, authority, is_mutual=False)) as running:
        assert ask(running, grpc.ssl_channel_credentials(authority.cert_pem.bytes())) == "small"
        with pytest.raises(grpc.RpcError) as unencrypted:
            running.stub.GetModel(pb.GetModelRequest(), timeout=5)
        assert unencrypted.value.code() is grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_refuses_clients_of_no_or_another_authority(tmp_path: Path, authority: trustme.CA) -> None:
    def credentials(issuer: trustme.CA | None) -> grpc.ChannelCredentials:
        if issuer is None:
            return grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        client = issuer.issue_cert("client")
        chain = b"".join(part.bytes() for part in client.cert_chain_pems)
        return grpc.ssl_channel_credentials(authority.cert_pem.bytes(), client.private_key_pem.bytes(), chain)

    with serve_grpc(secured(tmp_path, authority, is_mutual=True)) as running:
        assert ask(running, credentials(authority)) == "small"
        for stranger in (None, trustme.CA()):
            with pytest.raises(grpc.RpcError) as refused:
                ask(running, credentials(stranger))
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_certificate_that_cannot_be_used_is_named_at_the_start(
    tmp_path: Path, authority: trustme.CA, content: bytes | None
) -> None:
    small = secured(tmp_path, authority, is_mutual=False)
    (tmp_path / "server.pem").unlink()
    if content is not None:
        (tmp_path / "server.pem").write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        asyncio.run(start_grpc(small.door, small.door.settings))
    assert refused.value.reason is Reason.SETTINGS_INVALID


def test_an_address_that_is_not_ours_is_named_at_the_start(tmp_path: Path) -> None:
    small = small_door(tmp_path, host="192.0.2.1", allow_anonymous=True, grpc_port=0)
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1"):
        asyncio.run(start_grpc(small.door, small.door.settings))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_recipes_of_the_page_work(
    running: Running, case: Case, case_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    page = Path(__file__).parents[2] / "docs" / "integration-grpc.md"
    folder = tmp_path_factory.mktemp("recipes")
    for file in case_files:
        (folder / file.name).write_bytes(file.read_bytes())
    program = "\n".join(blocks(page, "python")).replace("127.0.0.1:3001", running.target)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder)}

    def run(*command: str) -> str:
        done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    expected = predict(case, small_bundle()).probability
    by_stream, by_region, refused = run(sys.executable, "-c", program).splitlines()
    assert [float(by_stream), float(by_region)] == pytest.approx([expected] * 2, abs=1e-12)
    assert refused.startswith("StatusCode.INVALID_ARGUMENT GEOMETRY_INVALID")
    looked, asked = (
        run("bash", "-euo", "pipefail", "-c", text.replace("127.0.0.1:3001", running.target)) for text in blocks(page, "sh")
    )
    assert f"{SERVICE}/Predict\n" in looked
    assert '"name": "small"' in looked
    assert '"SERVING"' in looked
    assert json.loads(asked)["prediction"]["probability"] == pytest.approx(expected, abs=1e-12)
