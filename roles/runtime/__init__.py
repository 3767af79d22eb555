"""What every daemon stands on: life cycle, storage, transports, health, metrics and logs."""
