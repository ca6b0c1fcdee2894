"""Synthetic patients with known signal, for the demo, the tests and the known-answer cases."""
