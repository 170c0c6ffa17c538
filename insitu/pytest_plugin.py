"""Scenarios as tests: the pytest plugin."""
