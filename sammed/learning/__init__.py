"""Learning from a user's own cases: plan, train, judge, propose."""
