"""One page for people, made of what the read side has folded."""
