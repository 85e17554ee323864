"""The Dagster layer: thin on purpose. What it schedules and shows lives in the core, which knows nothing of it."""
