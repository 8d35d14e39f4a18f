"""Slots: what a message to a tool agent names, read by rule grammars that a person can check by hand.

Every grammar takes the message, and ``now`` where time matters, and gives plain values back. Nothing here reads the
clock.
"""
