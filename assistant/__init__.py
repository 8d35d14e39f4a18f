"""The assistant: the turn from message to outcome, its settings and history, and the command line."""
