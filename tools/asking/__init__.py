"""What auditors ask, in people's words, and the answers as rows."""
