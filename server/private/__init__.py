"""The coordinator of private studies: it learns sums over hospitals and has no code path to one update.

What a hospital uploads is read as ring values by :mod:`wardround.common.wire.rings` and given to
:meth:`wardround.common.secagg.coordinator_attempt.CoordinatorAttempt.receive_upload`, which adds it to the one
vector that it holds. Nothing here imports what reads or sums single updates in open mode; a contract of
import-linter in ``pyproject.toml`` says so.

Order: :mod:`session` (who takes part), :mod:`attempt` (the exchanges of one try), :mod:`engine` (numbers,
steps of the model, what is recorded), :mod:`coordinator` (the whole run).
"""
