"""The OpenAPI description: complete, valid, and true under requests generated from it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema_rs import Draft202012Validator
from small_model import small_prediction
from small_server import SmallDoor, serve, small_door, write_case
from valid_uploads import FOLDER

from nodogram.errors import Reason
from nodogram.present import prediction_document
from serving.http_api import build_app
from serving.status import status_of
from serving.uploads import FIELDS

TOKEN = "a-token-of-some-length"  # noqa: S105, opens nothing
# Reasons nobody reads an answer with, and those of addresses and methods that are in no description.
UNDESCRIBED = {Reason.CANCELLED, Reason.ENDPOINT_UNKNOWN, Reason.METHOD_NOT_ALLOWED}
CONFIGURATION = """
[checks]
# What is a CT no JSON schema can say: random bytes are valid as a file and refused as an image.
positive_data_acceptance.enabled = false
# A deadline is in the description; generated ones are as short as 5e-324 s.
not_a_server_error.expected-statuses = ["2xx", "4xx", "504"]

[[operations]]
include-method = "GET"
# Nothing but headers can be wrong here, and of them every unknown one is legal.
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture
def small(tmp_path: Path) -> SmallDoor:
    spool = tmp_path / "spool"
    spool.mkdir()
    return small_door(spool)


@pytest.fixture
def server(small: SmallDoor) -> Iterator[str]:
    with serve(build_app(small.door)) as address:
        yield address


@pytest.fixture
def description(small: SmallDoor) -> dict[str, Any]:
    return build_app(small.door).openapi()


def operations(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {found["operationId"]: found for path in description["paths"].values() for found in path.values()}


def test_every_operation_says_how_it_can_end(description: dict[str, Any]) -> None:
    found = {name: set(operation["responses"]) for name, operation in operations(description).items()}
    always = {"200", "400", "401", "500", "503", "504"}
    assert found == {"predict": always | {"413", "415", "422"}, "getModel": always, "getNomogram": always}
    for operation in operations(description).values():
        for status, response in operation["responses"].items():
            media_type = "application/json" if status == "200" else "application/problem+json"
            assert set(response["content"]) == {media_type}
            assert response["headers"]["x-request-id"]["required"]
        assert "Retry-After" in operation["responses"]["503"]["headers"] or operation["operationId"] != "predict"
        assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]


def test_every_reason_a_prediction_can_end_with_is_listed_at_its_status(description: dict[str, Any]) -> None:
    responses = operations(description)["predict"]["responses"]
    for reason in set(Reason) - UNDESCRIBED:
        status = status_of(reason).http
        listed = re.findall(r"[A-Z_]{5,}", responses[str(status)]["description"])
        assert reason.value in listed or status == 500


def test_the_body_has_the_fields_that_are_read(description: dict[str, Any]) -> None:
    schema = operations(description)["predict"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(schema["properties"]) == set(FIELDS)
    assert schema["required"] == ["image", "roi"]
    assert schema["additionalProperties"] is False


def test_a_token_is_required_exactly_where_there_are_tokens(description: dict[str, Any], tmp_path: Path) -> None:
    assert all(operation["security"] == [{}, {"bearer": []}] for operation in operations(description).values())
    path = tmp_path / "tokens"
    path.write_text(f"pacs:{TOKEN}\n")
    closed = build_app(small_door(tmp_path, token_file=path).door).openapi()
    assert all(operation["security"] == [{"bearer": []}] for operation in operations(closed).values())
    assert closed["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_answers_are_what_the_description_says(description: dict[str, Any], server: str) -> None:
    answers = {
        "PredictionDocument": [prediction_document(small_prediction()), prediction_document(small_prediction(age=None))],
        "ModelDocument": [httpx.get(f"{server}/v1/model").json()],
        "NomogramDocument": [httpx.get(f"{server}/v1/nomogram").json()],
        "ProblemDocument": [httpx.get(f"{server}/v2").json()],
    }
    for name, documents in answers.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": description["components"]}
        validator = Draft202012Validator(schema)
        for document in documents:
            validator.validate(document)
            described = description["components"]["schemas"][name]
            assert set(described["required"]) == set(described["properties"]) == set(document)
            # Clients must not break when something is added.
            assert "additionalProperties" not in described


def generate(folder: Path, server: str, *arguments: str, **environment: str) -> None:
    pytest.importorskip("schemathesis")
    (folder / "schemathesis.toml").write_text(environment.pop("hooks", "") + CONFIGURATION)
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{server}/v1/openapi.json", "--seed", "1", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def valid_uploads(folder: Path) -> dict[str, str]:
    write_case(folder)
    hooks = Path(__file__).with_name("valid_uploads.py")
    return {"hooks": f'hooks = "{hooks.as_posix()}"\n', FOLDER: str(folder)}


def test_generated_requests_find_nothing_undescribed(tmp_path: Path, server: str, small: SmallDoor) -> None:
    generate(tmp_path, server, "--max-examples", "25")
    assert small.count("predict", "REQUEST_INVALID") > 0
    assert small.count("predict", "INTERNAL") == 0


def test_generated_requests_with_a_real_case_are_answered(tmp_path: Path, server: str, small: SmallDoor) -> None:
    generate(tmp_path, server, "--max-examples", "10", "--mode", "positive", **valid_uploads(tmp_path))
    assert small.count("predict", "OK") > 0
    assert small.count("predict", "INTERNAL") == 0


def test_generated_requests_without_their_token_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"pacs:{TOKEN}\n")
    with serve(build_app(small_door(tmp_path, token_file=path).door)) as address:
        generate(tmp_path, address, "--max-examples", "5", "-H", f"Authorization: Bearer {TOKEN}")


@pytest.mark.slow
@pytest.mark.parametrize("is_valid", [False, True])
def test_many_generated_requests(tmp_path: Path, server: str, small: SmallDoor, is_valid: bool) -> None:
    more = valid_uploads(tmp_path) if is_valid else {}
    generate(tmp_path, server, "--max-examples", "1500", "--mode", "positive" if is_valid else "all", **more)
    assert small.count("predict", "INTERNAL") == 0
