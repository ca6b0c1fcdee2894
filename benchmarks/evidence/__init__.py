"""What the statistics cost, and whether they keep what they promise, on simulated cohorts."""
