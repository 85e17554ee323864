"""A realistic fleet of machines, replay of recorded data, and the demo's proof that nothing was lost or doubled."""
