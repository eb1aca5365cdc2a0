"""What was found: the store and its frames."""

from raynas.results.database import StoreError
from raynas.results.store import Asked, Heard, Store, Told

__all__ = ["Asked", "Heard", "Store", "StoreError", "Told"]
