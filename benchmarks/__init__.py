"""What runtime and mesh cost beside their peers, measured in one run: `python -m benchmarks --help`."""
