"""Models that see: super-resolution of pictures."""
