"""IoT anomalies: an autoencoder of one device's normal traffic, pruned, quantised and kept as a profile."""
