"""A study as a hospital's people meet it before they decide: what it asks for, what leaves, what speaks against it.

Order: :mod:`leaving` (every message with its fields and bytes), :mod:`checks` (roster, policy, ledger, data, model),
:mod:`work` (how long), :mod:`overview` (all of it), :mod:`showing` (in plain words), :mod:`listing` (all studies).
"""
