"""Multipart bodies in chunks of any size, and every limit while they are read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodogram.errors import NodogramError, Reason, ServiceError
from serving.requests import CaseRequest, StoredFiles
from serving.uploads import MAXIMUM_TEXT_BYTES, receive_case

BOUNDARY = "limit"
GZIP = b"\x1f\x8b" + b"\x00" * 30
NRRD = b"NRRD0005\n\n"
NIFTI = b"\x5c\x01" + b"\x00" * 342 + b"n+1\x00"
NIFTI_2 = b"\x1c\x02\x00\x00n+2\x00\r\n\x1a\n"
DICOM = b"\x00" * 128 + b"DICM"
ZIP = b"PK\x03\x04"
PART = tuple[str, str | None, bytes | str]
IMAGE: PART = ("image", "a.nii.gz", GZIP)
ROI: PART = ("roi", "b.nrrd", NRRD)


def body_of(*parts: PART, boundary: str = BOUNDARY) -> bytes:
    body = b""
    for name, client_name, content in parts:
        client = "" if client_name is None else f'; filename="{client_name}"'
        body += f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"{client}\r\n\r\n'.encode()
        body += (content.encode() if isinstance(content, str) else content) + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def receive(
    folder: Path,
    body: bytes,
    *,
    step: int = 2**16,
    content_type: str | None = f"multipart/form-data; boundary={BOUNDARY}",
    maximum_bytes: int = 2**20,
    announced: int | None = None,
) -> CaseRequest:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    headers = {} if content_type is None else {"content-type": content_type}
    if announced is not None:
        headers["content-length"] = str(announced)
    return asyncio.run(receive_case(headers, chunks(), folder, maximum_bytes=maximum_bytes, case_id="the-request"))


def refused(folder: Path, body: bytes, **more: object) -> NodogramError:
    with pytest.raises(NodogramError) as caught:
        receive(folder, body, **more)  # type: ignore[arg-type]
    return caught.value


def source(request: CaseRequest) -> StoredFiles:
    assert isinstance(request.source, StoredFiles)
    return request.source


def test_every_field_arrives(tmp_path: Path) -> None:
    clinical = {"tumour_site": "glottic", "age_years": 61, "dose_gy": 1.5}
    request = receive(
        tmp_path,
        body_of(
            IMAGE,
            ("clinical", "c.json", json.dumps(clinical)),
            ROI,
            ("roi_name", None, "GTV p"),
            ("case_id", None, "Fall Ä 7"),
            ("nomogram_required", None, "true"),
        ),
    )
    assert request == CaseRequest(
        "Fall Ä 7", StoredFiles(tmp_path / "image.nii.gz", tmp_path / "roi.nrrd", "GTV p"), clinical, True
    )
    assert isinstance(request.clinical["age_years"], int)
    assert source(request).image.read_bytes() == GZIP
    assert source(request).roi.read_bytes() == NRRD


def test_without_the_optional_fields_the_request_names_the_case(tmp_path: Path) -> None:
    request = receive(tmp_path, body_of(IMAGE, ROI, ("case_id", None, ""), ("roi_name", None, "")))
    assert request.case_id == "the-request"
    assert source(request).roi_name is None
    assert request.clinical == {}
    assert request.nomogram_required is False


@given(
    image=st.binary(min_size=1, max_size=300).map(lambda data: data + b"\r\n--limi")
    | st.just(b"\r\n--lim\r\n--limit" * 9 + b"x"),
    step=st.integers(1, 90),
)
def test_files_are_whole_whatever_the_chunks(tmp_path_factory: pytest.TempPathFactory, image: bytes, step: int) -> None:
    boundary = "limit-that-is-in-no-file"
    folder = tmp_path_factory.mktemp("spool")
    request = receive(
        folder,
        body_of(("image", "x.NII", image), ROI, boundary=boundary),
        step=step,
        content_type=f'multipart/form-data; boundary="{boundary}"',
    )
    assert source(request).image.read_bytes() == image
    assert source(request).image.name == "image.nii"


@pytest.mark.parametrize(
    ("client_name", "content", "stored"),
    [
        ("series.ZIP", b"x", "image.zip"),
        ("x.dcm", b"x", "image.dcm"),
        ("x.nii", b"x", "image.nii"),
        ("x.nii.gz", b"x", "image.nii.gz"),
        ("x.nrrd", b"x", "image.nrrd"),
        (None, ZIP, "image.zip"),
        ("IM0001", DICOM, "image.dcm"),
        ("x.gz", GZIP, "image.nii.gz"),
        ("", NIFTI, "image.nii"),
        ("x", NIFTI_2, "image.nii"),
        ("x.bin", NRRD, "image.nrrd"),
        ("../../etc/passwd.nii", b"x", "image.nii"),
        ("/etc/\u202ex.nrrd", b"x", "image.nrrd"),
    ],
)
def test_the_kind_is_told_by_name_or_first_bytes_and_the_name_is_ours(
    tmp_path: Path, client_name: str | None, content: bytes, stored: str
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    request = receive(spool, body_of(("image", client_name, content), ROI))
    assert source(request).image == spool / stored
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {
        "spool",
        f"spool/{stored}",
        "spool/roi.nrrd",
    }


@pytest.mark.parametrize(
    "part", [("image", "x.png", b"\x89PNG\r\n\x1a\n"), ("image", None, b"text"), ("roi", "x.zip", ZIP), ("roi", None, b"n+1")]
)
def test_other_kinds_are_refused_without_the_name(tmp_path: Path, part: PART) -> None:
    others = [other for other in (IMAGE, ROI) if other[0] != part[0]]
    error = refused(tmp_path, body_of(part, *others))
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert part[0] in error.message
    assert "x." not in error.message


CLINICAL_FAULTS = {
    "not JSON": "{",
    "array": "[1]",
    "string": '"yes"',
    "number": "1",
    "null value": '{"a": null}',
    "truth value": '{"a": true}',
    "nested": '{"a": {"b": 1}}',
    "deep": "[" * 30000,
    "deep objects": '{"a":' * 12000,
    "twice": '{"a": 1, "a": 2}',
    "NaN": '{"a": NaN}',
    "infinite": '{"a": -Infinity}',
    "overflow": '{"a": 1e999}',
    "long digits": '{"a": ' + "9" * 5000 + "}",
    "half a pair": '{"a": "\\ud800"}',
    "half a pair in the name": '{"\\udfff": 1}',
    "byte order mark": "\ufeff{}",
}


@pytest.mark.parametrize("fault", CLINICAL_FAULTS)
def test_findings_are_an_object_of_strings_and_finite_numbers(tmp_path: Path, fault: str) -> None:
    error = refused(tmp_path, body_of(IMAGE, ROI, ("clinical", None, CLINICAL_FAULTS[fault])))
    assert error.reason is Reason.REQUEST_INVALID
    assert "field clinical" in error.message
    assert len(error.message) < 200


@given(st.text(max_size=60))
def test_any_findings_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    body = body_of(IMAGE, ROI, ("clinical", None, text.encode("utf-8", "surrogatepass")))
    with suppress(ServiceError):
        request = receive(tmp_path_factory.mktemp("spool"), body)
        assert request.clinical == (json.loads(text) if text.strip() else {})


def test_large_whole_numbers_become_floats(tmp_path: Path) -> None:
    request = receive(tmp_path, body_of(IMAGE, ROI, ("clinical", None, '{"a": 12345678901234567890}')))
    assert request.clinical == {"a": 12345678901234567890.0}


BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "image missing": (body_of(ROI), "image"),
    "roi missing": (body_of(IMAGE), "roi"),
    "no part": (f"--{BOUNDARY}--\r\n".encode(), "image"),
    "empty": (b"", "closing boundary"),
    "unknown field": (body_of(IMAGE, ROI, ("patient", None, "x")), "'patient'"),
    "image twice": (body_of(IMAGE, IMAGE, ROI), "image is there twice"),
    "text twice": (body_of(IMAGE, ROI, ("case_id", None, "a"), ("case_id", None, "b")), "case_id is there twice"),
    "empty file": (body_of(("image", "x.nii", b""), ROI), "image is an empty file"),
    "required": (body_of(IMAGE, ROI, ("nomogram_required", None, "yes")), "nomogram_required"),
    "long case": (body_of(IMAGE, ROI, ("case_id", None, "x" * 129)), "case_id"),
    "control character": (body_of(IMAGE, ROI, ("case_id", None, "a\nb")), "case_id"),
    "zero byte": (body_of(IMAGE, ROI, ("roi_name", None, "a\0b")), "roi_name"),
    "not UTF-8": (body_of(IMAGE, ROI, ("case_id", None, b"\xff")), "case_id"),
    "no name": (b"--limit\r\ncontent-disposition: form-data\r\n\r\nx\r\n--limit--\r\n", "content-disposition"),
    "no header": (b"--limit\r\n\r\nx\r\n--limit--\r\n", "content-disposition"),
    "many headers": (b"--limit\r\n" + b"a: b\r\n" * 99 + b"\r\nx\r\n--limit--\r\n", "header count"),
    "endless header": (b"--limit\r\na: " + b"b" * 99999, "header size"),
    "broken header": (b"--limit\r\n\x00: b\r\n\r\nx\r\n--limit--\r\n", "multipart"),
    "other boundary": (body_of(IMAGE, ROI, boundary="other"), "multipart"),
    "random": (bytes(range(256)) * 4, "multipart"),
    "long unknown": (body_of(("x" * 3000, None, "x")), "unknown"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
@pytest.mark.parametrize("step", [1, 2**16])
def test_what_is_wrong_is_named(tmp_path: Path, name: str, step: int) -> None:
    body, expected = BAD_BODIES[name]
    if step == 1 and len(body) > 4000:
        body = body[:4000] + body[-4000:]
    error = refused(tmp_path, body, step=step)
    assert error.reason is Reason.REQUEST_INVALID
    assert expected in error.message
    assert len(error.message) < 300


def test_a_body_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = body_of(IMAGE, ROI, ("clinical", None, "{}"))
    end = whole.rindex(b"--")
    for length in range(end + 1):
        error = refused(tmp_path_factory.mktemp("spool"), whole[:length], step=37)
        assert error.reason is Reason.REQUEST_INVALID


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        (None, Reason.UNSUPPORTED_FORMAT),
        ("application/json", Reason.UNSUPPORTED_FORMAT),
        ("multipart/mixed; boundary=limit", Reason.UNSUPPORTED_FORMAT),
        ("multipart/form-data", Reason.REQUEST_INVALID),
        ("multipart/form-data; boundary=", Reason.REQUEST_INVALID),
        ("multipart/form-data; boundary=" + "x" * 300, Reason.REQUEST_INVALID),
        ("multipart/form-data; boundary=é", Reason.REQUEST_INVALID),
    ],
)
def test_content_types(tmp_path: Path, content_type: str | None, reason: Reason) -> None:
    assert refused(tmp_path, body_of(IMAGE, ROI), content_type=content_type).reason is reason


def test_the_limit_is_exact(tmp_path_factory: pytest.TempPathFactory) -> None:
    body = body_of(IMAGE, ROI)
    receive(tmp_path_factory.mktemp("spool"), body, maximum_bytes=len(body), step=1)
    folder = tmp_path_factory.mktemp("spool")
    error = refused(folder, body, maximum_bytes=len(body) - 1, step=1)
    assert error.reason is Reason.REQUEST_TOO_LARGE
    assert str(len(body) - 1) in error.message


def test_an_announced_length_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    error = refused(tmp_path, b"never read", announced=2**20 + 1)
    assert error.reason is Reason.REQUEST_TOO_LARGE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["clinical", "case_id", "roi_name", "nomogram_required"])
def test_a_text_field_is_bounded_while_it_is_read(tmp_path: Path, name: str) -> None:
    error = refused(tmp_path, body_of((name, None, "x" * (MAXIMUM_TEXT_BYTES + 1))))
    assert error.reason is Reason.REQUEST_TOO_LARGE
    assert name in error.message


def test_a_spool_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    assert refused(tmp_path, body_of(IMAGE, ROI)).reason is Reason.OUTPUT_NOT_WRITABLE
