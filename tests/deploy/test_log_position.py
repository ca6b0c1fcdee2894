"""Every line of a log once, over any number of connections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.log_stream import LogPosition


@given(
    lines=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", ".1", ".100000000", ".12", ".9"])), max_size=15),
    cuts=st.lists(st.integers(0, 15), max_size=4),
)
def test_lines_come_once_and_in_order_however_connections_are_cut(lines: list[tuple[int, str]], cuts: list[int]) -> None:
    moments = sorted(lines, key=lambda m: float(f"{m[0]}{m[1]}"))
    log = [f"2026-11-29T23:00:0{second}{fraction}Z line {i}" for i, (second, fraction) in enumerate(moments)]
    position, seen = LogPosition(), []
    for cut in [*sorted(cuts), len(log)]:
        position.rewind()
        seen += [text for stamped in log[:cut] if (text := position.take(stamped)) is not None]
    assert seen == [f"line {i}" for i in range(len(log))]


def test_lines_without_text_are_lines() -> None:
    assert LogPosition().take("2026-11-29T23:00:00Z ") == ""
