"""Every answer there is, by the key the items of the checklists name it by."""

from __future__ import annotations

from collections.abc import Mapping

from training.report.pack import answers_imaging, answers_modeling, answers_performance, answers_study
from training.report.pack.checklist import AnswerFunction

ANSWERS: Mapping[str, AnswerFunction] = {
    **answers_study.ANSWERS,
    **answers_imaging.ANSWERS,
    **answers_modeling.ANSWERS,
    **answers_performance.ANSWERS,
}
