"""Readers and the one preprocessing path: files to Case, Case to PreparedCase."""
