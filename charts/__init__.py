"""Helm charts, and the program that keeps their schema and README in step with their values."""
