"""Compression methods: pure functions on arrays."""
