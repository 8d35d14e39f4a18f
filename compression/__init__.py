"""Models made small: compression methods, the language model, its artefacts and their runtime."""
