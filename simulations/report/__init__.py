"""The report of a run, from its run folder alone: the answer first, then the evidence.

Data passes through :mod:`load` (the run folder, checked), :mod:`lookup` (find rows), :mod:`answer` and
:mod:`tables` (sentences and cells whose numbers name their source), :mod:`figures`, :mod:`page` (HTML) and
:mod:`write`.
"""
