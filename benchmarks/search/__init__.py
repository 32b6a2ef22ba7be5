"""Searches for a schedule side by side: `python -m benchmarks.search`."""
