"""One module a family of figures; each has ``draw(run)``, which returns no figure where it has nothing to show."""
