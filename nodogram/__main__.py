"""``python -m nodogram``."""

from nodogram.cli import main

main()
