"""The generator: its data, training, export and the graphs it runs as."""
