"""Facts get in: the domain, the sealing and the event log."""
