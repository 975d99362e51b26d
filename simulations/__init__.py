"""Virtual hospitals on one machine: the same study, baselines, statistics and the report."""
