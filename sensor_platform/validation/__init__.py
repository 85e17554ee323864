"""The pandera models, and rejects as data."""
