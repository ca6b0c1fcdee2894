"""The forest plot of subgroups: the AUC of every level beside that of all patients."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evidence.sample_result import Measure
from training.evidence.subgroup_result import SubgroupCharacteristic, SubgroupRow, SubgroupTable
from training.model_names import sample_label
from training.report import formatting, style
from training.report.figures import WIDTH_IN

LINE_IN = 0.235
ABOVE_IN, BELOW_IN = 0.42, 0.55
# Left edge of the columns, and both edges of the plot, inches from the left of the figure.
NAME_IN, PATIENTS_IN, EVENTS_IN, PLOT_IN, VALUE_IN = 0.1, 3.55, 4.2, (4.45, 7.6), 7.8
LONGEST_NAME = 40
LOWEST_AUC = 0.4
SMALLEST_MARKER, LARGEST_MARKER = 3.5, 8.0


@dataclass(frozen=True)
class _Line:
    """A line of the plot: a heading with a remark, or a level."""

    name: str
    row: SubgroupRow | None
    remark: str = ""
    overall: bool = False


def subgroup_figure(table: SubgroupTable) -> Figure:
    """Draw AUCs with their intervals, level by level, with numbers of patients and events."""
    lines = tuple(_lines(table))
    height = ABOVE_IN + LINE_IN * len(lines) + BELOW_IN
    left, right = PLOT_IN
    with style.figure_style():
        figure = Figure(figsize=(WIDTH_IN, height))
        axes = figure.add_axes((left / WIDTH_IN, BELOW_IN / height, (right - left) / WIDTH_IN, LINE_IN * len(lines) / height))
        axes.set(xlim=(_lowest(lines), 1.01), ylim=(len(lines) - 0.5, -0.5), xlabel="AUC (95% CI)")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=True, axis="x")
        axes.axvline(0.5, color=style.GREY, linewidth=0.8, linestyle=(0, (2, 3)))
        if table.overall.auc.value is not None:
            axes.axvline(table.overall.auc.value, color=style.VERMILION, linewidth=1.0, linestyle="--")
        for place, line in enumerate(lines):
            _draw(axes, place, line, table.overall.patient_count)
        for x, text, side in (
            (NAME_IN, sample_label(table.sample), "left"),
            (PATIENTS_IN, "Patients", "right"),
            (EVENTS_IN, "Events", "right"),
            (VALUE_IN, "AUC (95% CI)", "left"),
        ):
            _text(axes, x, -1.0, text, ha=side, fontweight="bold")
    return figure


def subgroup_caption(table: SubgroupTable, outcome_name: str) -> str:
    """Return the words beneath the figure."""
    return (
        f"How well the nomogram tells patients with {outcome_name} from those without, in kinds of patients "
        f"({sample_label(table.sample).lower()}). Dashed line, AUC of all patients; dotted line, chance; larger squares, more "
        "patients. Beside each characteristic, the p of Cochran's test of whether its AUCs differ, adjusted by Holm over the "
        "characteristics. An AUC is not given below five patients with or without the outcome. Subgroups are exploratory: "
        "among so many, some look better or worse by chance alone."
    )


def _lines(table: SubgroupTable) -> Iterator[_Line]:
    yield _Line(table.overall.level, table.overall, overall=True)
    for characteristic in table.characteristics:
        yield _Line(characteristic.label, None, _remark(characteristic))
        for row in characteristic.rows:
            yield _Line(row.level, row)


def _remark(characteristic: SubgroupCharacteristic) -> str:
    if characteristic.heterogeneity is None:
        return ""
    p = formatting.p_value(characteristic.heterogeneity.adjusted_p)
    return f"adjusted p {p if p[0] in '<>' else f'= {p}'}"


def _lowest(lines: tuple[_Line, ...]) -> float:
    bounds = [v for line in lines if line.row is not None for v in (line.row.auc.low, line.row.auc.value) if v is not None]
    return max(0.0, math.floor(10 * min([LOWEST_AUC, *bounds])) / 10 - 0.01)


def _draw(axes: Axes, place: int, line: _Line, patients: int) -> None:
    if line.row is None:
        _text(axes, NAME_IN, place, _short(line.name), fontweight="bold")
        _text(axes, VALUE_IN, place, line.remark, color=style.GREY, fontsize=8.5)
        return
    weight = "bold" if line.overall else "normal"
    _text(axes, NAME_IN if line.overall else NAME_IN + 0.2, place, _short(line.name), fontweight=weight)
    _text(axes, PATIENTS_IN, place, str(line.row.patient_count), ha="right")
    _text(axes, EVENTS_IN, place, str(line.row.event_count), ha="right")
    if line.row.auc.value is None:
        _text(axes, VALUE_IN, place, f"{formatting.UNDEFINED} too few patients", color=style.GREY)
        return
    _text(axes, VALUE_IN, place, formatting.interval(line.row.auc), fontweight=weight)
    share = math.sqrt(line.row.patient_count / max(patients, 1))
    axes.errorbar(
        [line.row.auc.value],
        [place],
        xerr=_whiskers(line.row.auc),
        fmt="D" if line.overall else "s",
        markersize=SMALLEST_MARKER + (LARGEST_MARKER - SMALLEST_MARKER) * share,
        color=style.VERMILION if line.overall else style.BLUE,
        markeredgecolor="white",
        elinewidth=1.4,
        zorder=3,
    )


def _whiskers(measure: Measure) -> list[list[float]] | None:
    if measure.value is None or measure.low is None or measure.high is None:
        return None
    return [[max(measure.value - measure.low, 0.0)], [max(measure.high - measure.value, 0.0)]]


def _text(axes: Axes, x_in: float, place: float, text: str, **look: Any) -> None:
    """Write at a distance from the left of the figure, inches, on a line of the plot."""
    left, right = PLOT_IN
    axes.text((x_in - left) / (right - left), place, text, transform=axes.get_yaxis_transform(), va="center", **look)


def _short(name: str) -> str:
    return textwrap.shorten(name, LONGEST_NAME, placeholder="…") if " " in name else name[:LONGEST_NAME]
