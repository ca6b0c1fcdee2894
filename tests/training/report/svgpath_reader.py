"""Points of SVG path data in relative coordinates, read independently of what writes them."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray


def absolute_points(data: str) -> NDArray[np.float64]:
    """Return the points (n, 2) of a path of one move and lines."""
    tokens = re.findall(r"[Mlhv]|-?\d*\.?\d+", data)
    points: list[tuple[float, float]] = []
    command, place = "", 0
    while place < len(tokens):
        if tokens[place].isalpha():
            command, place = tokens[place], place + 1
        x, y = points[-1] if points else (0.0, 0.0)
        first = float(tokens[place])
        if command in ("h", "v"):
            points.append((x + first, y) if command == "h" else (x, y + first))
            place += 1
        else:
            second = float(tokens[place + 1])
            points.append((first, second) if command == "M" else (x + first, y + second))
            place += 2
    return np.array(points)
