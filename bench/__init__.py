"""Measures this machine and writes docs/benchmarks.md: `python -m bench`, or `make bench`."""
