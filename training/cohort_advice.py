"""What to do about each thing that can be wrong with a patient of a cohort, in one place."""

from __future__ import annotations

from collections.abc import Mapping

from nodogram.case import NoteCode
from nodogram.errors import Reason

ADVICE: Mapping[str, str] = {
    # image
    Reason.FILE_NOT_FOUND: "correct the path; paths are relative to the folder of cohort.csv",
    Reason.UNSUPPORTED_FORMAT: "give a DICOM folder, .nii, .nii.gz or .nrrd",
    Reason.UNREADABLE_FILE: "copy or export the file again",
    Reason.NO_IMAGES: "point at the folder that holds the CT slices themselves",
    Reason.MULTIPLE_SERIES: "put the one series the outline was drawn on into a folder of its own",
    Reason.NOT_CT: "give the CT; other modalities have no Hounsfield units",
    Reason.NO_GEOMETRY: "export the series again with position, orientation and pixel spacing",
    Reason.MIXED_ORIENTATION: "separate reformats and localizers from the axial series",
    Reason.MIXED_MATRIX: "separate the reconstructions; one matrix size per series",
    Reason.MIXED_PIXEL_SPACING: "separate the reconstructions; one pixel spacing per series",
    Reason.MIXED_FRAME_OF_REFERENCE: "separate the acquisitions; one frame of reference per series",
    Reason.BAD_ORIENTATION: "export the series again; its direction cosines are damaged",
    Reason.TOO_FEW_SLICES: "export the whole series",
    Reason.OVERLAPPING_POSITIONS: "separate the phases or repeated scans of the same positions",
    Reason.MISSING_SLICES: "send the missing slices again; nothing is interpolated",
    Reason.NONUNIFORM_SPACING: "use a reconstruction with one slice distance",
    Reason.GANTRY_TILT: "have the series resampled to straight slices, and draw the outline there",
    Reason.NO_RESCALE: "export the series again with rescale slope and intercept",
    Reason.NOT_HU: "use a reconstruction in Hounsfield units",
    Reason.IMAGE_TOO_LARGE: "cut the image to the neck; a study of this size is usually several examinations in one file",
    Reason.PIXEL_DECODE: "export the series uncompressed or in a lossless transfer syntax",
    Reason.NOT_FINITE: "replace NaN and infinite voxels at their source",
    Reason.GEOMETRY_INVALID: "correct spacing, origin and direction in the header",
    # region of interest
    Reason.ROI_NOT_FOUND: "correct roi_name; the message lists the names found",
    Reason.ROI_AMBIGUOUS: "say in roi_name which region is meant",
    Reason.ROI_EMPTY: "draw the outline, or leave the patient out",
    Reason.ROI_TOO_SMALL: "check that the outline is the tumor; texture needs more voxels",
    Reason.ROI_TOUCHES_BORDER: "use a scan that shows the whole tumor",
    Reason.ROI_OUTSIDE_IMAGE: "check that the outline belongs to this series",
    Reason.ROI_GEOMETRY_MISMATCH: "draw the outline on this image, or resample it to its grid",
    Reason.ROI_FRAME_OF_REFERENCE_MISMATCH: "use the outline drawn on this scan",
    Reason.ROI_CONTOUR_INVALID: "export the outline again as closed contours in the image planes",
    # cohort and clinical record
    Reason.COHORT_INVALID: "correct cohort.csv or cohort.toml; docs/cohort.md describes both",
    Reason.COHORT_TOO_SMALL: "add patients, or fewer candidate predictors; expect wide intervals",
    Reason.PATIENT_DUPLICATE: "keep one row per patient; a patient counted twice makes every figure too good",
    Reason.OUTCOME_INVALID: "give 0 or 1 for every patient, and patients of both kinds",
    Reason.SPLIT_INVALID: "give development or test in every row, or remove the column",
    Reason.CLINICAL_PREDICTOR_MISSING: "look the value up; nothing is guessed",
    Reason.CLINICAL_PREDICTOR_UNKNOWN: "describe the predictor in cohort.toml, or remove it",
    Reason.CLINICAL_VALUE_INVALID: "correct the value, or the levels or range in cohort.toml",
    # remarks of the readers
    NoteCode.DUPLICATE_FILE: "nothing; one copy was used",
    NoteCode.LOCALIZER_DROPPED: "nothing; the localizer was left out",
    NoteCode.LOSSY_COMPRESSION: "prefer the uncompressed series; compression changes texture",
    NoteCode.HU_IMPLAUSIBLE: "check the rescale values of the series",
    NoteCode.MULTIFRAME: "nothing; the enhanced image was read",
    NoteCode.ROI_CONTOUR_GAP: "check for slices without a contour inside the tumor; nothing is interpolated",
    NoteCode.ROI_CONTOUR_IGNORED: "check the contours that were left out",
    NoteCode.ROI_RESAMPLED: "check the outline on this image; it was drawn on another grid",
    NoteCode.ROI_SEVERAL_COMPONENTS: "check for stray voxels, or that all parts are tumor",
    NoteCode.ROI_LARGER_THAN_CROP: "the network sees only the middle of this tumor",
    NoteCode.OUT_OF_RANGE: "check the value",
    NoteCode.OUTSIDE_ACQUISITION_ENVELOPE: "check the acquisition",
}


def advice_for(code: Reason | NoteCode) -> str:
    """Return what to do about a reason or a remark; empty where only its message can say."""
    return ADVICE.get(code, "")
