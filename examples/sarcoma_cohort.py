"""Make a cohort of the public soft-tissue-sarcoma CTs, to run the whole chain on real scans and a real end point.

    python examples/sarcoma_cohort.py SOURCE OUT
    nodogram cohort check OUT
    nodogram train --cohort OUT --recipe sound --out RUN

SOURCE holds the patients as the IBSI validation set distributes them, ``STS_NNN/CT/image/*.dcm`` and
``STS_NNN/CT/mask/RS.dcm``, as folders or as ``STS_NNN.tar.xz`` (unpacked into OUT), and ``outcome.csv`` with the columns
``patient_id,lung_metastasis``: lung metastasis during follow-up, the end point of the study below. There are no clinical
predictors. Expect wide intervals of a few dozen patients, and no miracle: the study needed PET and MR.

Images and outlines: Vallières M, Freeman CR, Skamene SR, El Naqa I. A radiomics model from joint FDG-PET and MRI texture
features for the prediction of lung metastases in soft-tissue sarcomas of the extremities. The Cancer Imaging Archive 2015,
doi:10.7937/K9/TCIA.2015.7GO2GSKS (CC BY 3.0); Phys Med Biol 2015;60:5471, doi:10.1088/0031-9155/60/14/5471. Archive: Clark K
et al., J Digit Imaging 2013;26:1045. Validation set: github.com/theibsi/data_sets. Outcome: github.com/mvallieres/radiomics.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROI_NAME = "GTV_Mass_CT"
IMAGE = Path("CT", "image")
OUTLINE = Path("CT", "mask", "RS.dcm")
DEFINITION = """\
title = "Soft-tissue sarcoma"
intended_use = "Trying the software on real scans"

[outcome]
name = "lung metastasis"
positive_label = "lung metastasis"
provenance = "clinical"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return 0, or 1 if SOURCE is not as described."""
    parser = argparse.ArgumentParser(description="Make a cohort of the public soft-tissue-sarcoma CTs.")
    parser.add_argument("source", type=Path, help="folder with STS_NNN or STS_NNN.tar.xz, and outcome.csv")
    parser.add_argument("out", type=Path, help="folder of the cohort")
    options = parser.parse_args(arguments)
    try:
        count, without = make_cohort(options.source, options.out)
    except (OSError, ValueError, tarfile.TarError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for patient_id in without:
        print(f"left out {patient_id}: no CT with outline in {options.source}", file=sys.stderr)
    print(f"{count} patients in {options.out}")
    return 0


def make_cohort(source: Path, out: Path) -> tuple[int, tuple[str, ...]]:
    """Write ``cohort.csv`` and ``cohort.toml``.

    Returns
    -------
    count : int
        Patients in the table.
    without : tuple of str
        Patients with an outcome and no images.

    Raises
    ------
    ValueError
        If ``outcome.csv`` is not as described, or no patient has images.
    """
    outcomes = _read_outcomes(source / "outcome.csv")
    out.mkdir(parents=True, exist_ok=True)
    folders = {patient_id: _patient_folder(source, out, patient_id) for patient_id in outcomes}
    found = {patient_id: folder for patient_id, folder in folders.items() if folder is not None}
    if not found:
        raise ValueError(f"no STS_NNN/CT/image with STS_NNN/CT/mask/RS.dcm, folder or .tar.xz, in {source}")
    with (out / "cohort.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("patient_id", "image", "roi", "roi_name", "outcome"))
        for patient_id, folder in found.items():
            place = Path(os.path.relpath(folder, out))
            paths = ((place / part).as_posix() for part in (IMAGE, OUTLINE))
            writer.writerow((patient_id, *paths, ROI_NAME, outcomes[patient_id]))
    (out / "cohort.toml").write_text(DEFINITION, encoding="utf-8")
    return len(found), tuple(sorted(set(outcomes) - set(found)))


def _read_outcomes(path: Path) -> Mapping[str, str]:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or {"patient_id", "lung_metastasis"} - set(rows[0]):
        raise ValueError(f"{path} needs the columns patient_id and lung_metastasis")
    return {row["patient_id"]: row["lung_metastasis"] for row in rows}


def _patient_folder(source: Path, out: Path, patient_id: str) -> Path | None:
    """Return the folder of a patient, unpacked if it is not yet."""
    archive = source / f"{patient_id}.tar.xz"
    for folder in (source / patient_id, out / patient_id):
        if _is_complete(folder):
            return folder
    if not archive.is_file():
        return None
    with tarfile.open(archive, "r:xz") as packed:
        # Refuses absolute paths, links to the outside and devices (PEP 706).
        packed.extractall(out, filter="data")
    return out / patient_id if _is_complete(out / patient_id) else None


def _is_complete(folder: Path) -> bool:
    # The archives hold the outline last, so it is there only once all slices are.
    return (folder / OUTLINE).is_file() and any((folder / IMAGE).glob("*.dcm"))


if __name__ == "__main__":
    sys.exit(main())
