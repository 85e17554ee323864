"""What we compare ourselves with, each written as its own documentation shows."""
