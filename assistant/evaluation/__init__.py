"""Measures the whole assistant, and fits the evidence gate."""
