"""The closed catalogue of models: typed parameters in, a freshly initialised ``torch`` module out."""
