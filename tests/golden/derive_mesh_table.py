"""Find, by measuring the installed PyRadiomics, which triangles its marching cubes puts into a cube, in which order.

Area and volume are running sums of rounded terms, so their last bits depend on the order of the triangles and on the first
vertex of each. Every pattern of corners is put into the last cube of small arrays with random spacings; of all ways to span
triangles over the cut edges, to order and to rotate them, those stay that give every measured double. What is left over at
the end differs in no bit that was measured, and the first is taken.

Run as ``python tests/golden/derive_mesh_table.py``; prints the table ``TRIANGLES`` of ``nodogram/radiomics/_mesh.c``.

A corner (z, y, x) of the unit cube has the number 4z + 2y + x. Patterns that hold corner 7 are taken as their complement
with the triangles turned over. An edge along axis a (z 0, y 1, x 2) has the number 4a + 2u + v, u and v being its place on
the other two axes in the order z, y, x. Triangles take three hexadecimal digits, from the lowest up; F ends the list.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from radiomics import cShape

Triangle = tuple[int, int, int]
Triangles = tuple[Triangle, ...]
Table = dict[int, Triangles]
Pattern = NDArray[np.bool_]

CORNERS = np.indices((2, 2, 2)).reshape(3, 8).T
WHOLE = 0xFF
FOLD = 0x80
PROBES = 60
MOST_TRIANGLES = 5
END = 0xF


def _edges() -> list[tuple[int, int]]:
    """Corners at both ends of each edge."""
    ends = []
    for axis in range(3):
        for place in itertools.product((0, 1), repeat=2):
            first = list(place)
            first.insert(axis, 0)
            low = int(np.dot(first, (4, 2, 1)))
            ends.append((low, low + (4, 2, 1)[axis]))
    return ends


EDGES = _edges()
MIDPOINTS = np.array([(CORNERS[low] + CORNERS[high]) / 2 for low, high in EDGES])
FACES = [[edge for edge in range(12) if MIDPOINTS[edge, axis] == side] for axis in range(3) for side in (0, 1)]


def fold(cube: int) -> tuple[int, float]:
    """Return the pattern, or its complement if it holds corner 7, and the sign of its volume."""
    return (cube ^ WHOLE, -1.0) if cube & FOLD else (cube, 1.0)


def _loops(cube: int) -> Iterator[list[list[int]]]:
    """Yield the ways to join the cut edges, face by face, to closed polygons."""
    cut = {edge for edge, (low, high) in enumerate(EDGES) if (cube >> low ^ cube >> high) & 1}
    choices: list[list[list[tuple[int, int]]]] = []
    for face in FACES:
        a, *others = found = [edge for edge in face if edge in cut] or [-1]
        if len(found) == 2:
            choices.append([[(a, others[0])]])
        elif len(found) == 4:
            # Edges across the face from each other are not joined: the lines would cross.
            near = [b for b in others if (MIDPOINTS[a] != MIDPOINTS[b]).sum() == 2 and b // 4 != a // 4]
            pairings = [(b, [edge for edge in others if edge != b]) for b in near]
            choices.append([[(a, b), (rest[0], rest[1])] for b, rest in pairings])
    for chosen in itertools.product(*choices):
        neighbors: dict[int, list[int]] = {edge: [] for edge in cut}
        for a, b in itertools.chain.from_iterable(chosen):
            neighbors[a].append(b)
            neighbors[b].append(a)
        loops, left = [], set(cut)
        while left:
            loop = [min(left)]
            while following := [edge for edge in neighbors[loop[-1]] if edge in left and edge not in loop]:
                loop.append(following[0])
            left -= set(loop)
            loops.append(loop)
        if all(len(loop) > 2 for loop in loops) and len(cut) - 2 * len(loops) <= MOST_TRIANGLES:
            yield loops


def _triangulations(polygon: Sequence[int]) -> Iterator[list[Triangle]]:
    if len(polygon) < 3:
        yield []
        return
    first, *middle, last = polygon
    for k, apex in enumerate(middle, 1):
        for left in _triangulations(polygon[: k + 1]):
            for right in _triangulations(polygon[k:]):
                yield [(first, apex, last), *left, *right]


def _surfaces(cube: int) -> set[frozenset[Triangle]]:
    """Every set of triangles over the polygons of a pattern, each polygon facing either way."""
    found = set()
    for loops in _loops(cube):
        facing = itertools.product(*[(loop, loop[::-1]) for loop in loops])
        for polygons in facing:
            for parts in itertools.product(*[list(_triangulations(polygon)) for polygon in polygons]):
                found.add(frozenset(_rotated(triangle) for part in parts for triangle in part))
    return found


def _rotated(triangle: Triangle) -> Triangle:
    start = triangle.index(min(triangle))
    a, b, c = triangle[start:] + triangle[:start]
    return a, b, c


def _terms(triangle: Triangle, at: Sequence[int], spacing: NDArray[np.float64]) -> tuple[float, float]:
    """Return a triangle's part of six times the volume, and its area, rounded as compiled C without contraction rounds."""
    a, b, c = (
        [(float(i) + m) * s for i, m, s in zip(at, MIDPOINTS[e].tolist(), spacing.tolist(), strict=True)] for e in triangle
    )
    p, q, r = _cross(a, b)
    volume = p * c[0] + q * c[1] + r * c[2]
    p, q, r = _cross([i - k for i, k in zip(a, c, strict=True)], [j - k for j, k in zip(b, c, strict=True)])
    return volume, 0.5 * float(np.sqrt(p * p + q * q + r * r))


def _cross(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    return a[1] * b[2] - b[1] * a[2], a[2] * b[0] - b[2] * a[0], a[0] * b[1] - b[0] * a[1]


def cubes(mask: Pattern) -> Iterator[tuple[tuple[int, int, int], int]]:
    """Yield the place and the pattern of each cube, in the order in which they are summed."""
    for z, y, x in np.ndindex(*(n - 1 for n in mask.shape)):
        corners = mask[z : z + 2, y : y + 2, x : x + 2].ravel()
        yield (z, y, x), int(np.dot(corners, 1 << np.arange(8)))


class Probe:
    """One pattern in the last cube of an array, what PyRadiomics measures there, and the sums before that cube."""

    def __init__(self, cube: int, table: Table, generator: np.random.Generator) -> None:
        mask = np.zeros(generator.integers(4, 8, 3), dtype=bool)
        mask[-2:, -2:, -2:] = (cube >> np.arange(8) & 1).reshape(2, 2, 2)
        mask[0, 0, 0] = 1 in table and generator.random() < 0.7  # another cube's sum to begin with
        self.spacing = generator.uniform(0.3, 3.0, 3)
        self.area, self.volume, _ = cShape.calculate_coefficients(mask, self.spacing)
        *before, (self.at, _) = cubes(mask)
        self.area_before = self.volume_before = 0.0
        self.sign = fold(cube)[1]
        for at, other in before:
            pattern, sign = fold(other)
            for triangle in table[pattern] if pattern else ():
                volume, area = _terms(triangle, at, self.spacing)
                self.volume_before += sign * volume
                self.area_before += area

    def nearly(self, surface: frozenset[Triangle]) -> bool:
        """Whether a set of triangles has the measured area and volume but for rounding."""
        terms = np.array([_terms(triangle, self.at, self.spacing) for triangle in surface])
        volume, area = self.volume_before + self.sign * terms[:, 0].sum(), self.area_before + terms[:, 1].sum()
        return bool(np.isclose(volume / 6, self.volume, rtol=1e-9) and np.isclose(area, self.area, rtol=1e-9))

    def exact(self, rotations: Sequence[Triangle], ordered: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether lists of triangles, rows of indices of ``rotations``, give the measured doubles."""
        terms = np.array([_terms(triangle, self.at, self.spacing) for triangle in rotations])
        volume, area = np.full(len(ordered), self.volume_before), np.full(len(ordered), self.area_before)
        for column in ordered.T:
            volume += self.sign * terms[column, 0]
            area += terms[column, 1]
        return np.asarray((volume / 6 == self.volume) & (area == self.area))


def _measurable(pattern: int, table: Table) -> list[int]:
    """The pattern, its complement or both: what can go into the last cube with all cubes before it known."""
    possible = []
    for cube in (pattern, pattern ^ WHOLE):
        mask = np.zeros((3, 3, 3), dtype=bool)
        mask[1:, 1:, 1:] = (cube >> np.arange(8) & 1).reshape(2, 2, 2)
        *before, _ = cubes(mask)
        if all(not other or fold(other)[0] in table for _, other in before):
            possible.append(cube)
    return possible


def lists_of(pattern: int, table: Table, generator: np.random.Generator) -> list[Triangles]:
    """Return every list of triangles of a pattern that gives all measured doubles; empty if none does."""
    possible = _measurable(pattern, table)
    probes = [Probe(possible[k % len(possible)], table, generator) for k in range(PROBES)]
    left: list[Triangles] = []
    for surface in _surfaces(pattern):
        if not all(probe.nearly(surface) for probe in probes[:3]):
            continue
        rotations = [turned for a, b, c in sorted(surface) for turned in ((a, b, c), (b, c, a), (c, a, b))]
        orders = np.array(list(itertools.permutations(range(len(surface)))))
        turns = np.array(list(itertools.product(range(3), repeat=len(surface))))
        ordered = (3 * orders[:, None, :] + turns[None, :, :]).reshape(-1, len(surface))
        for probe in probes:
            ordered = ordered[probe.exact(rotations, ordered)]
        left += [tuple(rotations[k] for k in row) for row in ordered]
    return sorted(left)


def derive(seed: int = 0) -> tuple[Table, dict[int, int]]:
    """Return the triangles of the patterns 1 to 127, and how many lists were left for each."""
    generator = np.random.default_rng(seed)
    table: Table = {}
    count: dict[int, int] = {}
    waiting = sorted(range(1, FOLD), key=lambda pattern: min(pattern.bit_count(), 8 - pattern.bit_count()))
    while waiting:
        pattern = next(pattern for pattern in waiting if _measurable(pattern, table))
        found = lists_of(pattern, table, generator)
        if not found:
            raise LookupError(f"no list of triangles over the cut edges of pattern {pattern:#04x} gives what was measured")
        table[pattern], count[pattern] = found[0], len(found)
        waiting.remove(pattern)
    return table, count


def packed(triangles: Triangles) -> int:
    """Return a list of triangles as one number of 64 bits."""
    digits = [edge for triangle in triangles for edge in triangle] + [END]
    return sum(digit << 4 * place for place, digit in enumerate(digits))


if __name__ == "__main__":
    table, count = derive()
    rows = [f"0x{packed(table.get(pattern, ())):016X}" for pattern in range(FOLD)]
    for k in range(0, FOLD, 4):
        sys.stdout.write("    " + ", ".join(rows[k : k + 4]) + ",\n")
    sys.stderr.write(
        f"lists left per pattern: {dict(zip(*np.unique(list(count.values()), return_counts=True), strict=True))}\n"
    )
