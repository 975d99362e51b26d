"""From cases.csv to the metrics and tests of results.json; deploy/docs/statistics.md says how.

Order: :mod:`cases` (the table as arrays, checked), :mod:`outcomes` (every metric with its resamples),
:mod:`rows` (metric rows, summaries over sites), :mod:`comparisons` (paired tests).
"""

from wardround.simulations.statistics.comparisons import test_rows
from wardround.simulations.statistics.rows import metric_rows

__all__ = ["metric_rows", "test_rows"]
