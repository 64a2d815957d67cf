"""Tokens: who somebody is, by the word of a trusted issuer.

    token ─▶ compact ─▶ (jose: decrypt) ─▶ jose: signature ─▶ checking ─▶ caller
             syntax     service's key      issuer's key       every claim

Nothing is believed before the signature, and nothing afterwards that was not checked.
"""
