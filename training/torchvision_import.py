"""The one place that imports torchvision, so that it also imports beside a CPU build of torch.

The torchvision wheel is compiled against CUDA. Beside a CPU torch its compiled operators cannot load, and the import
ends in ``operator torchvision::nms does not exist``. Only the schemas of two operators are missed; with them declared
the models work (the operators themselves do not, and nothing here calls them). On a CUDA build the plain import succeeds
and nothing is declared: declared first, the compiled operators would collide with the declaration.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

_MISSED_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# Declarations last as long as the library object that made them.
_declared: list[torch.library.Library] = []


def torchvision_models() -> ModuleType:
    """Return ``torchvision.models``."""
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _MISSED_SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)
    return importlib.import_module("torchvision.models")
