from typing import Any

from numpy import float32
from numpy.typing import NDArray

_Four = tuple[float, float, float, float]

def filter_axis(
    source: NDArray[Any],
    recursion: tuple[_Four, _Four, _Four, _Four, _Four],
    axis: int,
    first: int,
    last: int,
    target: NDArray[float32],
    /,
) -> None: ...
