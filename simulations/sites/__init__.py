"""Virtual hospitals: who their patients are, what their scanners do, and their data sets on disk."""
