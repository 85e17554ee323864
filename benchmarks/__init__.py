"""Benchmarks: `python -m benchmarks.NAME --json`. Each measures the alternatives beside us, on this machine, now."""
