"""Micro-batches on disk: append, seal, recover, list, read."""
