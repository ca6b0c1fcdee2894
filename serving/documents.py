"""The JSON documents HTTP answers with, as types: what the OpenAPI description says and what tests hold the answers to.

A prediction is written by :func:`nodogram.present.prediction_document`, the same for the command line; its type here says what
that is.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nodogram import __version__
from nodogram.bundle import ModelBundle
from serving.config import Provider

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Interval = Annotated[tuple[float, float], Field(description="Lowest and highest.")]


def _open(schema: dict[str, Any]) -> None:
    # We say exactly what is here; clients are not to rely on nothing being added.
    schema.pop("additionalProperties", None)


class Document(BaseModel):
    """Base of every document: closed in this program, open to additions for its readers; finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, json_schema_extra=_open)


class ContributionDocument(Document):
    """What one predictor adds to the nomogram."""

    predictor: str = Field(description="Name, as in the model's list; `dlr_score` for the deep-learning radiomics score.")
    label: str = Field(description="Name for people.")
    value: float | str = Field(description="Number or level of this patient.")
    points: float = Field(description="0 at the smallest contribution on the axis; below 0 or above 100 only out of range.")
    linear_predictor: float = Field(description="Log odds.")


class DlrScoreDocument(Document):
    """Deep-learning radiomics score by itself."""

    probability: Probability = Field(description="Of the score alone, without clinical findings.")
    logit: float = Field(description="Its log odds.")
    branches: dict[str, Probability] = Field(description="Probability by branch, such as `radiomics` and `deep`.")


class NoteDocument(Document):
    """A remark about the case."""

    code: str = Field(description="Stable code.", examples=["OUT_OF_RANGE"])
    message: str = Field(description="For people.")


class PredictionDocument(Document):
    """Answer for one case."""

    case_id: str = Field(description="As sent, else the request id.")
    outcome: str = Field(description="What is predicted.")
    probability: Probability | None = Field(
        description="Of the outcome; null if a clinical predictor is missing, because nothing is guessed."
    )
    linear_predictor: float | None = Field(description="Log odds of the probability; null with it.")
    total_points: float | None = Field(description="Sum of the points; null with the probability.")
    contributions: tuple[ContributionDocument, ...] = Field(description="By predictor; empty without a probability.")
    dlr_score: DlrScoreDocument
    threshold: Probability = Field(description="Decision threshold frozen in the model.")
    is_positive: bool | None = Field(description="Whether the probability reaches the threshold; null without one.")
    notes: tuple[NoteDocument, ...] = Field(description="What a reader of the figures should know.")
    bundle_digest: str = Field(description="SHA-256 of the model.")
    stage_s: dict[str, float] = Field(description="Time by stage, s.")


class OutcomeDocument(Document):
    """What is predicted."""

    name: str
    positive_label: str = Field(description="How the outcome is written where it is present.")
    provenance: Literal["pathology", "clinical"] = Field(description="On whose word it was known in training.")


class PredictorDocument(Document):
    """A clinical finding the nomogram takes."""

    name: str = Field(description="Key in the field `clinical` of a request.")
    label: str = Field(description="Name for people.")
    kind: Literal["categorical", "continuous"]
    levels: tuple[str, ...] = Field(description="Allowed values; empty for a number.")
    reference: str | None = Field(description="Level the others are compared with; null for a number.")
    unit: str | None = Field(description="Unit of a number; null if it has none.")
    range: Interval | None = Field(description="Plausible numbers, others are refused; null for levels.")


class ThresholdDocument(Document):
    """A threshold on the probability."""

    name: str
    value: Probability
    rule: str = Field(description="How it was fixed in training.")


class ProviderDocument(Document):
    """Where the network runs."""

    wanted: Provider = Field(description="As the operator set it.")
    active: str | None = Field(
        description="ONNX Runtime execution provider in use; null for a model without a network.",
        examples=["CUDAExecutionProvider"],
    )


class AcquisitionDocument(Document):
    """Acquisitions seen in development; others are noted. Null or empty where the sources did not say."""

    slice_spacing_mm: Interval
    pixel_spacing_mm: Interval
    region_volume_cm3: Interval
    kvp: Interval | None = Field(description="Tube voltage, kV.")
    manufacturers: tuple[str, ...]
    convolution_kernels: tuple[str, ...]


class TrainingDocument(Document):
    """How the model came about."""

    recipe_name: str
    recipe_digest: str = Field(description="SHA-256 of the recipe.")
    classifier: str
    development_count: Count = Field(description="Patients the model was made of.")
    development_event_count: Count = Field(description="Those of them with the outcome.")
    test_count: Count = Field(description="Patients kept aside.")
    notes: tuple[str, ...] = Field(description="Warnings every reader of a prediction should know.")


class ModelDocument(Document):
    """The model that answers."""

    name: str
    digest: str = Field(description="SHA-256: equal digests, equal models.")
    created: str = Field(description="ISO 8601.")
    nodogram_version: str = Field(description="Of the software that made the model.")
    server_version: str = Field(description="Of the software that serves it.")
    intended_use: str
    outcome: OutcomeDocument
    predictors: tuple[PredictorDocument, ...]
    thresholds: tuple[ThresholdDocument, ...] = Field(description="The first is the one predictions are compared with.")
    provider: ProviderDocument
    acquisition: AcquisitionDocument
    training: TrainingDocument


class NomogramTermDocument(Document):
    """One predictor of the nomogram."""

    predictor: str
    label: str
    kind: Literal["continuous", "categorical"]
    unit: str | None
    coefficient: float = Field(description="Log odds per unit of a number; 0 for levels.")
    low: float = Field(description="Lower end of the axis of a number.")
    high: float = Field(description="Upper end of the axis of a number.")
    levels: tuple[str, ...] = Field(description="Empty for a number.")
    level_coefficients: tuple[float, ...] = Field(description="Log odds by level; 0 for the reference.")


class NomogramDocument(Document):
    """The nomogram: everything needed to compute or draw it."""

    bundle_digest: str = Field(description="SHA-256 of the model.")
    formula: str = Field(description="The nomogram as one line a reader can compute.")
    points_per_log_odds: float = Field(description="Points worth one unit of the linear predictor.")
    intercept: float = Field(description="Log odds with every contribution at zero.")
    terms: tuple[NomogramTermDocument, ...] = Field(description="The score first.")


class ProblemDocument(Document):
    """Why a request was not answered (RFC 9457)."""

    type: str = Field(description="URN of the reason.", examples=["urn:nodogram:reason:QUEUE_FULL"])
    title: str = Field(description="Summary of the kind of problem.")
    status: Annotated[int, Field(ge=400, le=599)] = Field(description="Status code of this answer.")
    detail: str = Field(description="What was found and what is required, for people.")
    reason: str = Field(description="Stable code to branch on.", examples=["QUEUE_FULL"])
    request_id: str = Field(description="As in the header x-request-id and the server's log.")


def model_document(bundle: ModelBundle, wanted: Provider) -> ModelDocument:
    """Describe a model for its users.

    Parameters
    ----------
    wanted
        Execution provider as set; the one in use is asked of the backbone.
    """
    manifest, training = bundle.manifest, bundle.manifest.training
    return ModelDocument(
        name=manifest.name,
        digest=manifest.digest,
        created=manifest.created,
        nodogram_version=manifest.nodogram_version,
        server_version=__version__,
        intended_use=manifest.intended_use,
        outcome=OutcomeDocument.model_validate(manifest.outcome.model_dump()),
        predictors=tuple(
            PredictorDocument(
                name=p.name, label=p.label, kind=p.type, levels=p.levels, reference=p.reference, unit=p.unit, range=p.range
            )
            for p in manifest.predictors
        ),
        thresholds=tuple(ThresholdDocument.model_validate(t.model_dump()) for t in manifest.thresholds),
        provider=ProviderDocument(wanted=wanted, active=None if bundle.backbone is None else bundle.backbone.provider),
        acquisition=AcquisitionDocument.model_validate(manifest.acquisition.model_dump()),
        training=TrainingDocument.model_validate(training.model_dump(include=set(TrainingDocument.model_fields))),
    )


def nomogram_document(bundle: ModelBundle) -> NomogramDocument:
    """Return the nomogram of a model with its formula."""
    nomogram = bundle.nomogram
    return NomogramDocument(
        bundle_digest=bundle.digest,
        formula=nomogram.formula(),
        points_per_log_odds=nomogram.points_per_log_odds,
        intercept=nomogram.intercept,
        terms=tuple(NomogramTermDocument.model_validate(term.model_dump()) for term in nomogram.terms),
    )
