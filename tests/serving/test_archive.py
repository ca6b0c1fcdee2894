from __future__ import annotations

import io
import random
import stat
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodogram.errors import Reason, ServiceError
from nodogram.imaging.dicom_series import find_series_files
from serving.archive import ArchiveLimits, unpack

LIMITS = ArchiveLimits(maximum_bytes=100_000, maximum_files=50)
DICOM = bytes(128) + b"DICM" + random.Random(0).randbytes(2000)
# Offsets in the central directory's entry and in the end record (APPNOTE 4.3.12, 4.3.16).
CENTRAL, CENTRAL_ENTRY, END = b"PK\x01\x02", 46, b"PK\x05\x06"


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, content)
    return stream.getvalue()


def with_mode(mode: int, content: bytes = b"/etc/passwd") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("1.dcm")
        info.create_system, info.external_attr = 3, mode << 16
        archive.writestr(info, content)
    return stream.getvalue()


def patched(data: bytes, signature: bytes, offset: int, layout: str, value: int) -> bytes:
    at = data.rindex(signature) + offset
    return data[:at] + struct.pack(layout, value) + data[at + struct.calcsize(layout) :]


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    return data.replace(old, new)


def overlapping(count: int, content: bytes, announced: int | None = None) -> bytes:
    """One file, pointed at by every entry of the directory."""
    data = zipped(("1.dcm", content))
    start, end = data.index(CENTRAL), data.index(END)
    entry = data[start:end]
    if announced is not None:
        entry = patched(entry, CENTRAL, 24, "<I", announced)
    tail = struct.pack("<4s4H2IH", END, 0, 0, count, count, len(entry) * count, start, 0)
    return data[:start] + entry * count + tail


ONE = zipped(("1.dcm", DICOM))
STORED = zipped(("1.dcm", DICOM), method=zipfile.ZIP_STORED)
INVALID: dict[str, bytes] = {
    "nothing": b"",
    "random bytes": random.Random(1).randbytes(5000),
    "text": b"this is no archive" * 100,
    "truncated": ONE[: len(ONE) // 2],
    "end record cut": ONE[:-5],
    "stored bytes changed": STORED.replace(DICOM[500:510], bytes(10)),
    "deflated bytes changed": ONE[:60] + bytes(40) + ONE[100:],
    "checksum changed": patched(ONE, CENTRAL, 16, "<I", 1),
    "encrypted": patched(ONE, CENTRAL, 8, "<H", 1),
    "strong encryption": patched(ONE, CENTRAL, 8, "<H", 0x41),
    "patch data": patched(ONE, CENTRAL, 8, "<H", 0x20),
    "bzip2": zipped(("1.dcm", DICOM), method=zipfile.ZIP_BZIP2),
    "lzma": zipped(("1.dcm", DICOM), method=zipfile.ZIP_LZMA),
    "method nobody knows": patched(ONE, CENTRAL, 10, "<H", 97),
    "absolute": zipped(("/etc/cron.d/x", DICOM)),
    "drive": zipped(("C:\\windows\\x.dcm", DICOM)),
    "network drive": zipped(("\\\\server\\share\\x.dcm", DICOM)),
    "parent": zipped(("../../x.dcm", DICOM)),
    "parent in the middle": zipped(("a/../../x.dcm", DICOM)),
    "parent by backslash": zipped(("a\\..\\..\\x.dcm", DICOM)),
    "parent among good ones": zipped(("1.dcm", DICOM), ("..", DICOM)),
    "zero byte": renamed(zipped(("1.dcmX.txt", DICOM)), b"1.dcmX.txt", b"1.dcm\0.txt"),
    "symbolic link": with_mode(stat.S_IFLNK | 0o777),
    "pipe": with_mode(stat.S_IFIFO | 0o644),
    "device": with_mode(stat.S_IFBLK | 0o644),
    "no entry": zipped(),
    "folders only": zipped(("a/", b""), ("a/b/", b"")),
    "other name in front of the data": ONE.replace(b"1.dcm", b"2.dcm", 1),
    "name that is no UTF-8": patched(ONE.replace(b"1.dcm", b"\xff\xfe\xfd\xfc\xfb"), CENTRAL, 8, "<H", 0x800),
    "data beyond the end": patched(ONE, CENTRAL, 42, "<I", 2**31),
    "directory beyond the end": patched(ONE, END, 16, "<I", 2**31),
    "directory before the start": patched(ONE, END, 12, "<I", len(ONE) * 2),
    "more announced than there is": patched(ONE, CENTRAL, 24, "<I", 50_000),
    "less announced than there is": patched(ONE, CENTRAL, 24, "<I", 100),
    "longer than the file": patched(patched(STORED, CENTRAL, 20, "<I", 90_000), CENTRAL, 24, "<I", 90_000),
    "directory longer than the file": patched(ONE, END, 12, "<I", 2**31),
    "overlapping entries that announce nothing": overlapping(40, bytes(90_000), announced=1),
}
TOO_LARGE: dict[str, bytes] = {
    "files": zipped(*((f"{i}.dcm", b"x") for i in range(51))),
    "folders": zipped(("1.dcm", DICOM), *((f"{i}/", b"") for i in range(50))),
    "one large file": zipped(("1.dcm", bytes(100_001))),
    "zeros": zipped(("1.dcm", bytes(50_000_000))),
    "together": zipped(*((f"{i}.dcm", bytes(2_100)) for i in range(50))),
    "overlapping entries": overlapping(50, bytes(90_000)),
    "announced": patched(ONE, CENTRAL, 24, "<I", 2**32 - 2),
}


def refusal(data: bytes, tmp_path: Path, limits: ArchiveLimits = LIMITS) -> Reason:
    path, folder = tmp_path / "upload.zip", tmp_path / "unpacked"
    path.write_bytes(data)
    folder.mkdir()
    with pytest.raises(ServiceError) as caught:
        unpack(path, folder, limits)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["unpacked", "upload.zip"]
    written = list(folder.rglob("*"))
    assert all(p.parent == folder and p.is_file() and not p.is_symlink() for p in written)
    assert sum(p.stat().st_size for p in written) <= limits.maximum_bytes
    return caught.value.reason


def unpacked(data: bytes, tmp_path: Path, limits: ArchiveLimits = LIMITS) -> dict[str, bytes]:
    path, folder = tmp_path / "upload.zip", tmp_path / "unpacked"
    path.write_bytes(data)
    folder.mkdir()
    count = unpack(path, folder, limits)
    files = {p.name: p.read_bytes() for p in sorted(folder.iterdir())}
    assert count == len(files)
    return files


@pytest.mark.parametrize("name", INVALID)
def test_invalid(name: str, tmp_path: Path) -> None:
    assert refusal(INVALID[name], tmp_path) is Reason.ARCHIVE_INVALID


@pytest.mark.parametrize("name", TOO_LARGE)
def test_too_large(name: str, tmp_path: Path) -> None:
    assert refusal(TOO_LARGE[name], tmp_path) is Reason.ARCHIVE_TOO_LARGE


def test_what_just_fits_is_taken(tmp_path: Path) -> None:
    files = unpacked(zipped(*((f"{i}.dcm", bytes(2_000)) for i in range(50))), tmp_path)
    assert len(files) == 50
    assert sum(map(len, files.values())) == LIMITS.maximum_bytes


def test_a_directory_of_a_million_entries_is_refused_before_it_is_read(tmp_path: Path) -> None:
    entry = ONE[ONE.index(CENTRAL) : ONE.index(END)]
    count = 1_000_000
    tail = struct.pack("<4s4H2IH", END, 0, 0, 1, 1, len(entry) * count, ONE.index(CENTRAL), 0)
    path = tmp_path / "upload.zip"
    path.write_bytes(ONE[: ONE.index(CENTRAL)] + entry * count + tail)
    start = time.perf_counter()
    with pytest.raises(ServiceError) as caught:
        unpack(path, tmp_path, ArchiveLimits(2**31, 4096))
    assert caught.value.reason is Reason.ARCHIVE_TOO_LARGE
    assert time.perf_counter() - start < 0.5


def test_names_are_ours_and_say_what_the_reader_asks(tmp_path: Path) -> None:
    files = unpacked(
        zipped(
            ("study/", b""),
            ("study/a.DCM", b"a"),
            ("study/b.ima", b"b"),
            ("study/c", b"c"),
            ("study/d.0007", b"d"),
            ("study/e.txt", b"e"),
            ("study\\f.dicom", b"f"),
            ("DICOMDIR", b"-"),
            ("study/.hidden.dcm", b"-"),
            ("__MACOSX/study/._a.dcm", b"-"),
            ("study\\._f.dcm", b"-"),
            ("windows\\", b""),
        ),
        tmp_path,
    )
    assert files == {
        "000001.dcm": b"a",
        "000002.dcm": b"b",
        "000003": b"c",
        "000004": b"d",
        "000005.other": b"e",
        "000006.dcm": b"f",
    }


def test_an_archive_is_read_like_the_folder_it_was_made_of(tmp_path: Path) -> None:
    names = ["b/2.dcm", "b/10.dcm", "a/IM0001", "a/IM0002", "a/1.2.840.5", "notes.txt", "a/.DS_Store", "DICOMDIR", "a b.IMA"]
    contents = {name: DICOM + name.encode() for name in names} | {"notes.txt": b"hello"}
    export = tmp_path / "export"
    for name, content in contents.items():
        (export / name).parent.mkdir(parents=True, exist_ok=True)
        (export / name).write_bytes(content)
    path, folder = tmp_path / "upload.zip", tmp_path / "unpacked"
    path.write_bytes(zipped(*reversed(contents.items())))
    folder.mkdir()
    unpack(path, folder, LIMITS)
    assert [p.read_bytes() for p in find_series_files(folder)] == [p.read_bytes() for p in find_series_files(export)]


@pytest.mark.parametrize("name", ["x.dcm", "x", "x.17"])
def test_a_damaged_image_is_seen_as_in_a_folder(name: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "upload.zip", tmp_path / "unpacked"
    path.write_bytes(zipped(("1.dcm", DICOM), (name, bytes(200))))
    folder.mkdir()
    unpack(path, folder, LIMITS)
    with pytest.raises(Exception, match="UNREADABLE_FILE"):
        find_series_files(folder)


def test_zip64_and_leading_bytes_are_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, archive.open("1.dcm", "w", force_zip64=True) as entry:
        entry.write(DICOM)
    assert unpacked(b"#!self-extracting\n" + stream.getvalue(), tmp_path) == {"000001.dcm": DICOM}


def test_a_full_disk_is_not_the_archive_s_fault(tmp_path: Path) -> None:
    path = tmp_path / "upload.zip"
    path.write_bytes(ONE)
    with pytest.raises(FileNotFoundError):
        unpack(path, tmp_path / "absent", LIMITS)


GOOD = zipped(("a/1.dcm", DICOM), ("a/2.dcm", np.arange(5000, dtype="<i2").tobytes()), ("a/", b""), ("a/3", b"x"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1), st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([CENTRAL, END, b"PK\x06\x07"]))
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([lambda data: data, lambda data: data[len(data) // 3 :], lambda data: data + data]),
)
def test_whatever_is_changed_the_answer_is_declared(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, bytes]], shape: Callable[[bytes], bytes]
) -> None:
    data = bytearray(shape(GOOD))
    for place, value in changes:
        # Most fields are at the end.
        at = int((1 - (1 - place) ** 2) * (len(data) - 1))
        data[at : at + len(value)] = value
    folder = tmp_path_factory.mktemp("z")
    path, target = folder / "upload.zip", folder / "unpacked"
    path.write_bytes(data)
    target.mkdir()
    reason = None
    try:
        unpack(path, target, LIMITS)
    except ServiceError as error:
        reason = error.reason
    assert reason in (None, Reason.ARCHIVE_INVALID, Reason.ARCHIVE_TOO_LARGE)
    assert {p.name for p in folder.iterdir()} == {"upload.zip", "unpacked"}
    assert sum(p.stat().st_size for p in target.iterdir()) <= LIMITS.maximum_bytes
