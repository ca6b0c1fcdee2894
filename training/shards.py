"""A cohort divided among processes that know nothing of each other, and put together again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nodogram.errors import Reason, TrainingError
from training.extraction_result import ExtractionResult, in_order, read_result

FOLDER = "shards"
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Shard:
    """Every ``count``-th patient, beginning with the ``number``-th.

    Attributes
    ----------
    number
        From 1 to ``count``.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"shard {self.number} of {self.count}: 1 to {self.count} is required")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[_Item]) -> tuple[_Item, ...]:
        """Return the items of this shard; all shards together have each item once."""
        return tuple(items[self.number - 1 :: self.count])

    def folder(self, out: Path) -> Path:
        """Return where the result of this shard lies."""
        return out / FOLDER / f"{self.number}-of-{self.count}"


def parse_shard(text: str) -> Shard:
    """Parse ``I/N``, I from 1.

    Raises
    ------
    ValueError
        Saying what is required.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None:
        raise ValueError(f"{text!r} is not I/N, such as 1/4 for the first of four shards")
    return Shard(int(match[1]), int(match[2]))


@dataclass(frozen=True)
class Missing:
    """What a merge waits for.

    Attributes
    ----------
    shards
        Not finished, or never begun.
    labels
        Patients of these shards, in the order of the cohort.
    """

    shards: tuple[Shard, ...]
    labels: tuple[str, ...]


def merge_shards(out: Path, labels: Sequence[str], count: int | None) -> ExtractionResult | Missing:
    """Put the results of all shards together, in the order of the cohort.

    Parameters
    ----------
    out
        Folder of the extraction.
    labels
        Patients of the cohort.
    count
        Number of shards; ``None`` for that of the shards found.

    Raises
    ------
    TrainingError
        ``RUN_MISMATCH`` if there is no shard to tell their number, if there are shards of several divisions, or if shards
        were made of another cohort or with other settings than the first.
    """
    shards = _division(out, count)
    results: list[ExtractionResult] = []
    missing: list[Shard] = []
    for shard in shards:
        result = read_result(shard.folder(out))
        if result is None:
            missing.append(shard)
            continue
        _check_patients(shard, result, shard.of(labels))
        if results and result.manifest != results[0].manifest:
            raise TrainingError(
                Reason.RUN_MISMATCH,
                f"shard {shard} was made with other settings or versions ({result.manifest.digest[:12]}) than the first "
                f"({results[0].manifest.digest[:12]}); extract it again",
            )
        results.append(result)
    if missing:
        absent = {label for shard in missing for label in shard.of(labels)}
        return Missing(tuple(missing), tuple(label for label in labels if label in absent))
    return in_order(
        results[0].manifest,
        labels,
        {label: row for r in results for label, row in zip(r.table.case_ids, r.table.values, strict=True)},
        (failure for r in results for failure in r.failures),
        (note for r in results for note in r.notes),
    )


def _division(out: Path, count: int | None) -> tuple[Shard, ...]:
    if count is None:
        names = [re.fullmatch(r"\d+-of-(\d+)", folder.name) for folder in (out / FOLDER).glob("*-of-*")]
        counts = sorted({int(name[1]) for name in names if name is not None})
        if len(counts) != 1:
            found = "no shards" if not counts else f"shards of divisions into {' and '.join(map(str, counts))}"
            raise TrainingError(Reason.RUN_MISMATCH, f"{out / FOLDER} holds {found}; say with --shard-count how many are meant")
        count = counts[0]
    return tuple(Shard(number, count) for number in range(1, count + 1))


def _check_patients(shard: Shard, result: ExtractionResult, expected: Sequence[str]) -> None:
    found = {*result.table.case_ids, *(failure.label for failure in result.failures)}
    if found != set(expected):
        odd = sorted(found.symmetric_difference(expected))
        raise TrainingError(
            Reason.RUN_MISMATCH,
            f"shard {shard} was made of another cohort: {len(odd)} patients differ, first {odd[0]}; extract it again",
        )
