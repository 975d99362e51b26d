"""Benchmarks of wardround against its peers, measured in turn on one machine; see deploy/docs/bench.md."""
