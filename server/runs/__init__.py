"""Runs at a deployed coordinator: asked for by commands, carried out by child processes, gone on with after any death.

In the order in which things happen: :mod:`orders` (a person starts, stops or resumes a run), :mod:`rosters`
(on which roster), :mod:`plan` (what is run),
:mod:`manager` (which runs need a process), :mod:`process` (the parent's side of one), :mod:`talk` (what both sides
say), :mod:`child` (the process), :mod:`hearing` (which sites are heard), :mod:`words` and :mod:`overview` (what people
see).
"""
