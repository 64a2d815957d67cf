"""Questions get answered: folds over the log."""
