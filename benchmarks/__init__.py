"""Every figure that we claim, measured beside its peers: `python -m benchmarks AREA …`."""
