from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from nodogram.errors import ImageError
from nodogram.imaging import expansion
from nodogram.imaging.dicom_series import find_series_files, read_series, sop_class_uid
from tests.nodogram.imaging.faulty_series import SLICES, write_series


def deflated(path: Path, trailing_bytes: int) -> Path:
    """Return a deflated copy of an image that ends in an element of zeros."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    content = buffer.getvalue()
    start = 144 + pydicom.dcmread(io.BytesIO(content)).file_meta.FileMetaInformationGroupLength
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [packer.compress(zlib.decompress(content[start:], -zlib.MAX_WBITS))]
    # Data Set Trailing Padding (FFFC,FFFC), OB.
    parts.append(packer.compress(b"\xfc\xff\xfc\xffOB\0\0" + trailing_bytes.to_bytes(4, "little")))
    zeros = bytes(2**22)
    parts += [packer.compress(zeros) for _ in range(trailing_bytes // len(zeros))]
    copy = path.with_name("deflated.dcm")
    copy.write_bytes(content[:start] + b"".join(parts) + packer.flush())
    return copy


def test_a_file_is_refused_by_what_it_inflates_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "MAXIMUM_INFLATED_BYTES", 2**24)
    image = write_series(tmp_path) / "001.dcm"
    bomb = deflated(image, 2**25)
    assert bomb.stat().st_size < 2**17
    for read in (sop_class_uid, lambda path: read_series([path])):
        with pytest.raises(ImageError, match="IMAGE_TOO_LARGE"):
            read(bomb)
    assert sop_class_uid(deflated(image, 2**22)) == sop_class_uid(image)


def resized(syntax: str, start: bytes, at: int, size: bytes) -> Callable[[Dataset, int], None]:
    """Compress, and let the frame of one image say another size."""

    def change(d: Dataset, k: int) -> None:
        d.compress(syntax, generate_instance_uid=False)
        if k == 3:
            place = d.PixelData.index(start) + at
            d.PixelData = d.PixelData[:place] + size + d.PixelData[place + len(size) :]

    return change


@pytest.mark.parametrize(
    ("syntax", "start", "at"), [(JPEG2000Lossless, b"\xff\x4f\xff\x51", 8), (JPEGLSLossless, b"\xff\xf7", 5)]
)
def test_a_frame_that_says_another_size_is_refused_before_it_is_decoded(
    syntax: str, start: bytes, at: int, tmp_path: Path
) -> None:
    size = (60000).to_bytes(4 if syntax == JPEG2000Lossless else 2, "big") * 2
    with pytest.raises(ImageError, match=r"PIXEL_DECODE.*60000 x 60000 pixels, the header 64 x 64"):
        read_series(find_series_files(write_series(tmp_path / "bad", resized(syntax, start, at, size))))
    honest = write_series(tmp_path / "good", resized(syntax, start, at, b""))
    assert read_series(find_series_files(honest)).volume.array.shape == (SLICES, 64, 64)
