"""Hands: the command line, operations and measurements."""
