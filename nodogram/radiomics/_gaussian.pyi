from numpy import float32
from numpy.typing import NDArray

def run(source: NDArray[float32], axis: int, weights: bytes, first: int, last: int, target: NDArray[float32], /) -> None: ...
