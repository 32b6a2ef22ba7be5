"""Searches that choose among recorded runs of others: `python -m benchmarks.replay`."""
