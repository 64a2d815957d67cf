"""The domain: frozen events, and what folds of them say. Pure functions of values."""
