"""Statistics: pure functions, each checked against an outside reference."""
