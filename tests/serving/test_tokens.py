"""Tokens from a file that changes under a running server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from nodogram.errors import Reason, ServiceError, SettingsError
from serving.tokens import MAXIMUM_TOKEN_COUNT, Tokens

PACS = "pacs-token-0123456789"
WARD = "ward-token-0123456789"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text(f"# who may ask\n\npacs:{PACS}\n  ward : {WARD} \n")
    return file


def reason_of(tokens: Tokens, authorization: str | None) -> Reason:
    with pytest.raises(ServiceError) as caught:
        tokens.caller(authorization)
    return caught.value.reason


def test_a_token_stands_for_its_name(path: Path) -> None:
    tokens = Tokens(path)
    assert tokens.caller(f"Bearer {PACS}") == "pacs"
    assert tokens.caller(f"bearer  {WARD}") == "ward"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        PACS,
        f"Basic {PACS}",
        f"Bearer {PACS}x",
        f"Bearer {PACS[:-1]}",
        "Bearer pacs",
        "Bearer é\ud800",
    ],
)
def test_anything_else_is_refused(path: Path, authorization: str | None) -> None:
    assert reason_of(Tokens(path), authorization) is Reason.UNAUTHENTICATED


def test_one_name_may_have_two_tokens_for_the_time_of_a_change(path: Path) -> None:
    path.write_text(f"pacs:{PACS}\npacs:{WARD}\n")
    tokens = Tokens(path)
    assert {tokens.caller(f"Bearer {token}") for token in (PACS, WARD)} == {"pacs"}


def test_a_changed_file_is_read_again(path: Path) -> None:
    tokens = Tokens(path)
    path.write_text(f"ward:{WARD}\n")
    assert tokens.caller(f"Bearer {WARD}") == "ward"
    assert reason_of(tokens, f"Bearer {PACS}") is Reason.UNAUTHENTICATED


def test_a_link_that_points_elsewhere_is_read_again(tmp_path: Path, path: Path) -> None:
    """As Kubernetes replaces a mounted secret: same size and, here, same time, but another file."""
    other = tmp_path / "other"
    other.write_text(path.read_text().replace("pacs:", "gate:"))
    for file in (path, other):
        os.utime(file, ns=(1, 1))
    link = tmp_path / "link"
    link.symlink_to(path)
    tokens = Tokens(link)
    assert tokens.caller(f"Bearer {PACS}") == "pacs"
    link.unlink()
    link.symlink_to(other)
    assert tokens.caller(f"Bearer {PACS}") == "gate"


def test_a_wrong_file_leaves_the_old_tokens_and_one_line_in_the_log(path: Path) -> None:
    tokens = Tokens(path)
    good = path.read_text()
    path.write_text("ward:short\n")
    with capture_logs() as lines:
        assert tokens.caller(f"Bearer {PACS}") == "pacs"
        assert tokens.caller(f"Bearer {PACS}") == "pacs"
    assert [line["event"] for line in lines] == ["token file not taken over"]
    assert "line 1" in lines[0]["message"]
    assert "short" not in str(lines)
    path.unlink()
    with capture_logs() as lines:
        assert tokens.caller(f"Bearer {WARD}") == "ward"
        assert tokens.caller(f"Bearer {WARD}") == "ward"
    assert len(lines) == 1
    path.write_text(good.replace("pacs", "gate"))
    with capture_logs() as lines:
        assert tokens.caller(f"Bearer {PACS.replace('pacs', 'gate')}") == "gate"
    assert [line["event"] for line in lines] == ["token file read again"]


BAD_FILES = {
    "empty": ("", "0 tokens"),
    "comments only": ("# nobody\n", "0 tokens"),
    "no colon": (f"pacs:{PACS}\n{WARD}\n", "line 2"),
    "no name": (f"\n:{PACS}\n", "line 2"),
    "name with a space": (f"the pacs:{PACS}\n", "line 1"),
    "short": (f"ward:{WARD}\npacs:only-15-chars-\n", "line 2"),
    "characters that cannot arrive": ("pacs:sécret-sécret-sécret\n", "line 1"),
    "same token twice": (f"pacs:{PACS}\n\nward:{PACS}\n", "line 3"),
    "too many": ("".join(f"n{i}:token-of-number-{i:04d}\n" for i in range(MAXIMUM_TOKEN_COUNT + 1)), "101 tokens"),
    "huge": ("# x\n" * 2**17, "bytes"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_wrong_file_is_refused_by_its_line_and_never_quoted(path: Path, name: str) -> None:
    content, expected = BAD_FILES[name]
    path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        Tokens(path)
    assert caught.value.reason is Reason.SETTINGS_INVALID
    assert expected in caught.value.message
    for secret in (PACS, WARD, "secret", "only-15", "sécret", "token-of"):
        assert secret not in caught.value.message


def test_bytes_that_are_no_text_and_a_missing_file_are_refused(path: Path) -> None:
    path.write_bytes(b"pacs:\xff\xfe" + PACS.encode())
    with pytest.raises(SettingsError, match="line 1"):
        Tokens(path)
    path.unlink()
    with pytest.raises(SettingsError, match="No such file"):
        Tokens(path)
