"""What buddyproxy costs, measured: `python -m benchmarks --help`."""
