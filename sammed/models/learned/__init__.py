"""Networks that a user's own cases have taught: no prompt, all structures at once."""
