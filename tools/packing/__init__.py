"""Packs of evidence: what `credledger audit pack` hands over, and how it comes to lie there.

The files and their bytes are told in `docs/reference/pack-format.md`; `tools.packing.verifier`
checks them and imports nothing from here.
"""
