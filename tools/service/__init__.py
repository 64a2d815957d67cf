"""The ledger over HTTP: what `credledger serve` runs.

    connection ─▶ protocol ─▶ door ─▶ callers ─▶ operations ─▶ the ledger's use cases
                 who connected  bodies,  who asks    what is asked
                                limits

`operations` is the one table of what can be asked; the OpenAPI description and the reference page
are made of it. The service starts sealed (`seal`), and answers nothing but its health until
somebody has unlocked it. See docs/reference/http.md, and decision 26 for what it is built on.
"""
