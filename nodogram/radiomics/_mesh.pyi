from numpy import bool_
from numpy.typing import NDArray

def coefficients(
    inside: NDArray[bool_], spacing_mm: tuple[float, float, float], /
) -> tuple[float, float, tuple[float, float, float, float]]: ...
