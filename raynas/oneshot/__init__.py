"""Many configs inside one network: supernets with shared weights."""
