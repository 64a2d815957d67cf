"""Measuring the ledger beside the stock library and the bare floor; never part of a test."""
