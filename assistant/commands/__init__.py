"""Command groups of `damso` that a developer needs: training, export and evaluation."""
