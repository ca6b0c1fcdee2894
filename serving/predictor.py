"""One case through all stages: measured in a process of the pool, embedded in a batch, concluded here."""

from __future__ import annotations

from nodogram.bundle import ModelBundle
from nodogram.clinical import check_record
from nodogram.errors import CohortError, Reason
from nodogram.predict import Prediction, conclude
from serving.batcher import Batcher
from serving.case_pool import CasePool
from serving.requests import CaseRequest


class Predictor:
    """What HTTP and gRPC both ask.

    Parameters
    ----------
    bundle
        Verified.
    pool
        Measures cases.
    batcher
        Embeds crops; ``None`` for a bundle without a backbone.
    """

    def __init__(self, bundle: ModelBundle, pool: CasePool, batcher: Batcher | None) -> None:
        self.bundle = bundle
        self._pool = pool
        self._batcher = batcher

    async def predict(self, request: CaseRequest, *, deadline_s: float) -> Prediction:
        """Predict one case.

        Parameters
        ----------
        request
            Its files exist until this returns.
        deadline_s
            Value of ``time.monotonic()`` after which the work is given up, s.

        Raises
        ------
        NodogramError
            Why it cannot be predicted; a bad clinical record before any image is read.
        """
        self._check_clinical(request)
        measured = await self._pool.measure(request, deadline_s=deadline_s)
        deep = None
        if measured.pixels is not None and self._batcher is not None:
            embedded = await self._batcher.embed(measured.pixels)
            deep = embedded.features
            measured.stage_s["queue"] = measured.stage_s.get("queue", 0.0) + embedded.queue_s
            measured.stage_s["backbone"] = embedded.backbone_s
        # Less than a millisecond: not worth a thread, whose way there and back takes a good part of that.
        return conclude(measured, deep, self.bundle)

    def _check_clinical(self, request: CaseRequest) -> None:
        missing = check_record(self.bundle.manifest.predictors, request.clinical)
        if missing and request.nomogram_required:
            raise CohortError(
                Reason.CLINICAL_PREDICTOR_MISSING, f"no value for {', '.join(missing)}; the nomogram was asked for and needs it"
            )
