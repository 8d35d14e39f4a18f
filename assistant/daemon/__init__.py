"""The daemon: an OpenAI-compatible API and the page, behind the guards."""
