"""A realistic fleet of machines, and replay of recorded data."""
