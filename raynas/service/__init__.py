"""raynas for other machines."""
