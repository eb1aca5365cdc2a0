"""What was found: the store and its frames."""

from raynas.results.store import Asked, Heard, Store, StoreError, Told

__all__ = ["Asked", "Heard", "Store", "StoreError", "Told"]
