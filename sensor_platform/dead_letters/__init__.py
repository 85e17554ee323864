"""Dead letters: what was refused, kept with its bytes and its reason, and tried again."""
