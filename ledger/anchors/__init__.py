"""What others say of a log: heads kept elsewhere, cosigned by a witness, stamped with a time."""
