"""Tables 1 and 2: what the patients were like, by split and by outcome."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nodogram.case import ClinicalRecord
from nodogram.clinical import ClinicalPredictor, is_missing
from nodogram.stats.hypothesis_tests import compare_categorical, compare_continuous, standardized_mean_difference
from training.results import BaselineRow, BaselineTable

Group = tuple[str, Sequence[ClinicalRecord]]


def baseline_table(title: str, predictors: Sequence[ClinicalPredictor], groups: Sequence[Group]) -> BaselineTable:
    """Describe clinical predictors in each group and compare the first two groups.

    Parameters
    ----------
    groups
        (name, records) pairs; missing values are left out of counts, means and tests, and counted in a line of their own.
    """
    rows = [row for p in predictors for row in (_categorical(p, groups) if p.type == "categorical" else _continuous(p, groups))]
    names = tuple(f"{name} (n = {len(records)})" for name, records in groups)
    return BaselineTable(title=title, group_names=names, rows=tuple(rows))


def _categorical(predictor: ClinicalPredictor, groups: Sequence[Group]) -> list[BaselineRow]:
    values = [[str(v) for v in _known(predictor, records)] for _, records in groups]
    counts = np.array([[column.count(level) for column in values] for level in predictor.levels], dtype=np.int64)
    result = compare_categorical(counts[:, :2]) if len(groups) > 1 else None
    indicators = [np.array([v == predictor.levels[-1] for v in column], dtype=np.float64) for column in values]
    # One number for a table of levels is only defined for two of them (Austin 2009).
    binary = len(predictor.levels) == 2 and len(groups) > 1 and all(i.size for i in indicators[:2])
    heading = BaselineRow(
        characteristic=predictor.label,
        level=None,
        groups=tuple("" for _ in groups),
        test=None if result is None else result.name,
        statistic=None if result is None else result.statistic,
        p_value=None if result is None else result.p,
        standardized_mean_difference=standardized_mean_difference(*indicators[:2]) if binary else None,
    )
    totals = counts.sum(axis=0)
    return [
        heading,
        *(
            BaselineRow(
                characteristic=predictor.label,
                level=level,
                groups=tuple(
                    f"{n} ({100 * n / t:.1f} %)" if t else "0" for n, t in zip(row.tolist(), totals.tolist(), strict=True)
                ),
            )
            for level, row in zip(predictor.levels, counts, strict=True)
        ),
        *_missing(predictor, predictor.label, groups),
    ]


def _continuous(predictor: ClinicalPredictor, groups: Sequence[Group]) -> list[BaselineRow]:
    values = [np.array([float(v) for v in _known(predictor, records)]) for _, records in groups]
    result = compare_continuous(values[0], values[1]) if len(groups) > 1 else None
    difference = None
    if len(groups) > 1 and min(values[0].size, values[1].size) > 1:
        difference = standardized_mean_difference(values[0], values[1])
    name = f"{predictor.label}{f', {predictor.unit}' if predictor.unit else ''}, mean ± SD"
    return [
        BaselineRow(
            characteristic=name,
            level=None,
            groups=tuple(f"{v.mean():.2f} ± {v.std(ddof=1):.2f}" if v.size > 1 else "–" for v in values),
            test=None if result is None else result.name,
            statistic=None if result is None else result.statistic,
            p_value=None if result is None else result.p,
            standardized_mean_difference=difference,
        ),
        *_missing(predictor, name, groups),
    ]


def _known(predictor: ClinicalPredictor, records: Sequence[ClinicalRecord]) -> list[str | float]:
    return [predictor.parse(r[predictor.name]) for r in records if not is_missing(r.get(predictor.name))]


def _missing(predictor: ClinicalPredictor, characteristic: str, groups: Sequence[Group]) -> list[BaselineRow]:
    counts = [sum(is_missing(r.get(predictor.name)) for r in records) for _, records in groups]
    return [BaselineRow(characteristic=characteristic, level="missing", groups=tuple(map(str, counts)))] if any(counts) else []
