"""What convinces others: anchors, proofs, receipts, and the checks that need no key."""
