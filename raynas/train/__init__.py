"""A config becomes metrics."""
