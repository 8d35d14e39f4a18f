"""Agents: the sentence encoder, one adapter an agent, the router and the catalogue of agents."""
