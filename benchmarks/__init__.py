"""Where the README's numbers come from; each module ends in one JSON line."""
