"""The small server of the serving tests, for those that ask it as a pod would."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "serving"))
