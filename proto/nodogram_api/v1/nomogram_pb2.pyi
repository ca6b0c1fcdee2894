from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_FORMAT_UNSPECIFIED: _ClassVar[ImageFormat]
    IMAGE_FORMAT_DICOM_ZIP: _ClassVar[ImageFormat]
    IMAGE_FORMAT_DICOM: _ClassVar[ImageFormat]
    IMAGE_FORMAT_NIFTI: _ClassVar[ImageFormat]
    IMAGE_FORMAT_NIFTI_GZIP: _ClassVar[ImageFormat]
    IMAGE_FORMAT_NRRD: _ClassVar[ImageFormat]

class RoiFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROI_FORMAT_UNSPECIFIED: _ClassVar[RoiFormat]
    ROI_FORMAT_DICOM: _ClassVar[RoiFormat]
    ROI_FORMAT_NIFTI: _ClassVar[RoiFormat]
    ROI_FORMAT_NIFTI_GZIP: _ClassVar[RoiFormat]
    ROI_FORMAT_NRRD: _ClassVar[RoiFormat]

class OutcomeProvenance(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_PROVENANCE_UNSPECIFIED: _ClassVar[OutcomeProvenance]
    OUTCOME_PROVENANCE_PATHOLOGY: _ClassVar[OutcomeProvenance]
    OUTCOME_PROVENANCE_CLINICAL: _ClassVar[OutcomeProvenance]

class PredictorKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PREDICTOR_KIND_UNSPECIFIED: _ClassVar[PredictorKind]
    PREDICTOR_KIND_CATEGORICAL: _ClassVar[PredictorKind]
    PREDICTOR_KIND_CONTINUOUS: _ClassVar[PredictorKind]

class ExecutionProvider(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXECUTION_PROVIDER_UNSPECIFIED: _ClassVar[ExecutionProvider]
    EXECUTION_PROVIDER_CPU: _ClassVar[ExecutionProvider]
    EXECUTION_PROVIDER_CUDA: _ClassVar[ExecutionProvider]
    EXECUTION_PROVIDER_TENSORRT: _ClassVar[ExecutionProvider]
IMAGE_FORMAT_UNSPECIFIED: ImageFormat
IMAGE_FORMAT_DICOM_ZIP: ImageFormat
IMAGE_FORMAT_DICOM: ImageFormat
IMAGE_FORMAT_NIFTI: ImageFormat
IMAGE_FORMAT_NIFTI_GZIP: ImageFormat
IMAGE_FORMAT_NRRD: ImageFormat
ROI_FORMAT_UNSPECIFIED: RoiFormat
ROI_FORMAT_DICOM: RoiFormat
ROI_FORMAT_NIFTI: RoiFormat
ROI_FORMAT_NIFTI_GZIP: RoiFormat
ROI_FORMAT_NRRD: RoiFormat
OUTCOME_PROVENANCE_UNSPECIFIED: OutcomeProvenance
OUTCOME_PROVENANCE_PATHOLOGY: OutcomeProvenance
OUTCOME_PROVENANCE_CLINICAL: OutcomeProvenance
PREDICTOR_KIND_UNSPECIFIED: PredictorKind
PREDICTOR_KIND_CATEGORICAL: PredictorKind
PREDICTOR_KIND_CONTINUOUS: PredictorKind
EXECUTION_PROVIDER_UNSPECIFIED: ExecutionProvider
EXECUTION_PROVIDER_CPU: ExecutionProvider
EXECUTION_PROVIDER_CUDA: ExecutionProvider
EXECUTION_PROVIDER_TENSORRT: ExecutionProvider

class PredictRequest(_message.Message):
    __slots__ = ("header", "image_chunk", "roi_chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_CHUNK_FIELD_NUMBER: _ClassVar[int]
    ROI_CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: PredictHeader
    image_chunk: bytes
    roi_chunk: bytes
    def __init__(self, header: _Optional[_Union[PredictHeader, _Mapping]] = ..., image_chunk: _Optional[bytes] = ..., roi_chunk: _Optional[bytes] = ...) -> None: ...

class PredictHeader(_message.Message):
    __slots__ = ("case_id", "roi_name", "clinical", "nomogram_required", "image_format", "roi_format")
    class ClinicalEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ClinicalValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ClinicalValue, _Mapping]] = ...) -> None: ...
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    ROI_NAME_FIELD_NUMBER: _ClassVar[int]
    CLINICAL_FIELD_NUMBER: _ClassVar[int]
    NOMOGRAM_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    ROI_FORMAT_FIELD_NUMBER: _ClassVar[int]
    case_id: str
    roi_name: str
    clinical: _containers.MessageMap[str, ClinicalValue]
    nomogram_required: bool
    image_format: ImageFormat
    roi_format: RoiFormat
    def __init__(self, case_id: _Optional[str] = ..., roi_name: _Optional[str] = ..., clinical: _Optional[_Mapping[str, ClinicalValue]] = ..., nomogram_required: _Optional[bool] = ..., image_format: _Optional[_Union[ImageFormat, str]] = ..., roi_format: _Optional[_Union[RoiFormat, str]] = ...) -> None: ...

class PredictRegionRequest(_message.Message):
    __slots__ = ("case_id", "clinical", "nomogram_required", "geometry", "hu", "mask")
    class ClinicalEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ClinicalValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ClinicalValue, _Mapping]] = ...) -> None: ...
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    CLINICAL_FIELD_NUMBER: _ClassVar[int]
    NOMOGRAM_REQUIRED_FIELD_NUMBER: _ClassVar[int]
    GEOMETRY_FIELD_NUMBER: _ClassVar[int]
    HU_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    case_id: str
    clinical: _containers.MessageMap[str, ClinicalValue]
    nomogram_required: bool
    geometry: Geometry
    hu: bytes
    mask: bytes
    def __init__(self, case_id: _Optional[str] = ..., clinical: _Optional[_Mapping[str, ClinicalValue]] = ..., nomogram_required: _Optional[bool] = ..., geometry: _Optional[_Union[Geometry, _Mapping]] = ..., hu: _Optional[bytes] = ..., mask: _Optional[bytes] = ...) -> None: ...

class Geometry(_message.Message):
    __slots__ = ("shape", "spacing_mm", "origin_mm", "direction")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    SPACING_MM_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_MM_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    spacing_mm: _containers.RepeatedScalarFieldContainer[float]
    origin_mm: _containers.RepeatedScalarFieldContainer[float]
    direction: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., spacing_mm: _Optional[_Iterable[float]] = ..., origin_mm: _Optional[_Iterable[float]] = ..., direction: _Optional[_Iterable[float]] = ...) -> None: ...

class ClinicalValue(_message.Message):
    __slots__ = ("level", "number")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    level: str
    number: float
    def __init__(self, level: _Optional[str] = ..., number: _Optional[float] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("prediction",)
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    prediction: Prediction
    def __init__(self, prediction: _Optional[_Union[Prediction, _Mapping]] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("case_id", "outcome", "probability", "linear_predictor", "total_points", "contributions", "dlr_score", "threshold", "is_positive", "notes", "bundle_digest", "stage_s")
    class StageSEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LINEAR_PREDICTOR_FIELD_NUMBER: _ClassVar[int]
    TOTAL_POINTS_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    DLR_SCORE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    IS_POSITIVE_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STAGE_S_FIELD_NUMBER: _ClassVar[int]
    case_id: str
    outcome: str
    probability: float
    linear_predictor: float
    total_points: float
    contributions: _containers.RepeatedCompositeFieldContainer[Contribution]
    dlr_score: DlrScore
    threshold: float
    is_positive: bool
    notes: _containers.RepeatedCompositeFieldContainer[Note]
    bundle_digest: str
    stage_s: _containers.ScalarMap[str, float]
    def __init__(self, case_id: _Optional[str] = ..., outcome: _Optional[str] = ..., probability: _Optional[float] = ..., linear_predictor: _Optional[float] = ..., total_points: _Optional[float] = ..., contributions: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ..., dlr_score: _Optional[_Union[DlrScore, _Mapping]] = ..., threshold: _Optional[float] = ..., is_positive: _Optional[bool] = ..., notes: _Optional[_Iterable[_Union[Note, _Mapping]]] = ..., bundle_digest: _Optional[str] = ..., stage_s: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("predictor", "label", "value", "points", "linear_predictor")
    PREDICTOR_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    LINEAR_PREDICTOR_FIELD_NUMBER: _ClassVar[int]
    predictor: str
    label: str
    value: ClinicalValue
    points: float
    linear_predictor: float
    def __init__(self, predictor: _Optional[str] = ..., label: _Optional[str] = ..., value: _Optional[_Union[ClinicalValue, _Mapping]] = ..., points: _Optional[float] = ..., linear_predictor: _Optional[float] = ...) -> None: ...

class DlrScore(_message.Message):
    __slots__ = ("probability", "logit", "branches")
    class BranchesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LOGIT_FIELD_NUMBER: _ClassVar[int]
    BRANCHES_FIELD_NUMBER: _ClassVar[int]
    probability: float
    logit: float
    branches: _containers.ScalarMap[str, float]
    def __init__(self, probability: _Optional[float] = ..., logit: _Optional[float] = ..., branches: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Note(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "digest", "created", "nodogram_version", "server_version", "intended_use", "outcome", "predictors", "thresholds", "provider", "acquisition", "training")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    NODOGRAM_VERSION_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    INTENDED_USE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PREDICTORS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    ACQUISITION_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    created: str
    nodogram_version: str
    server_version: str
    intended_use: str
    outcome: Outcome
    predictors: _containers.RepeatedCompositeFieldContainer[Predictor]
    thresholds: _containers.RepeatedCompositeFieldContainer[Threshold]
    provider: Provider
    acquisition: Acquisition
    training: Training
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., created: _Optional[str] = ..., nodogram_version: _Optional[str] = ..., server_version: _Optional[str] = ..., intended_use: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ..., predictors: _Optional[_Iterable[_Union[Predictor, _Mapping]]] = ..., thresholds: _Optional[_Iterable[_Union[Threshold, _Mapping]]] = ..., provider: _Optional[_Union[Provider, _Mapping]] = ..., acquisition: _Optional[_Union[Acquisition, _Mapping]] = ..., training: _Optional[_Union[Training, _Mapping]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("name", "positive_label", "provenance")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_LABEL_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    positive_label: str
    provenance: OutcomeProvenance
    def __init__(self, name: _Optional[str] = ..., positive_label: _Optional[str] = ..., provenance: _Optional[_Union[OutcomeProvenance, str]] = ...) -> None: ...

class Predictor(_message.Message):
    __slots__ = ("name", "label", "kind", "levels", "reference", "unit", "range")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    label: str
    kind: PredictorKind
    levels: _containers.RepeatedScalarFieldContainer[str]
    reference: str
    unit: str
    range: Interval
    def __init__(self, name: _Optional[str] = ..., label: _Optional[str] = ..., kind: _Optional[_Union[PredictorKind, str]] = ..., levels: _Optional[_Iterable[str]] = ..., reference: _Optional[str] = ..., unit: _Optional[str] = ..., range: _Optional[_Union[Interval, _Mapping]] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("low", "high")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class Threshold(_message.Message):
    __slots__ = ("name", "value", "rule")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    rule: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., rule: _Optional[str] = ...) -> None: ...

class Provider(_message.Message):
    __slots__ = ("wanted", "active")
    WANTED_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    wanted: ExecutionProvider
    active: str
    def __init__(self, wanted: _Optional[_Union[ExecutionProvider, str]] = ..., active: _Optional[str] = ...) -> None: ...

class Acquisition(_message.Message):
    __slots__ = ("slice_spacing_mm", "pixel_spacing_mm", "region_volume_cm3", "kvp", "manufacturers", "convolution_kernels")
    SLICE_SPACING_MM_FIELD_NUMBER: _ClassVar[int]
    PIXEL_SPACING_MM_FIELD_NUMBER: _ClassVar[int]
    REGION_VOLUME_CM3_FIELD_NUMBER: _ClassVar[int]
    KVP_FIELD_NUMBER: _ClassVar[int]
    MANUFACTURERS_FIELD_NUMBER: _ClassVar[int]
    CONVOLUTION_KERNELS_FIELD_NUMBER: _ClassVar[int]
    slice_spacing_mm: Interval
    pixel_spacing_mm: Interval
    region_volume_cm3: Interval
    kvp: Interval
    manufacturers: _containers.RepeatedScalarFieldContainer[str]
    convolution_kernels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, slice_spacing_mm: _Optional[_Union[Interval, _Mapping]] = ..., pixel_spacing_mm: _Optional[_Union[Interval, _Mapping]] = ..., region_volume_cm3: _Optional[_Union[Interval, _Mapping]] = ..., kvp: _Optional[_Union[Interval, _Mapping]] = ..., manufacturers: _Optional[_Iterable[str]] = ..., convolution_kernels: _Optional[_Iterable[str]] = ...) -> None: ...

class Training(_message.Message):
    __slots__ = ("recipe_name", "recipe_digest", "classifier", "development_count", "development_event_count", "test_count", "notes")
    RECIPE_NAME_FIELD_NUMBER: _ClassVar[int]
    RECIPE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_FIELD_NUMBER: _ClassVar[int]
    DEVELOPMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEVELOPMENT_EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    TEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    recipe_name: str
    recipe_digest: str
    classifier: str
    development_count: int
    development_event_count: int
    test_count: int
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, recipe_name: _Optional[str] = ..., recipe_digest: _Optional[str] = ..., classifier: _Optional[str] = ..., development_count: _Optional[int] = ..., development_event_count: _Optional[int] = ..., test_count: _Optional[int] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...
