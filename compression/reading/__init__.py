"""The reader: a small transformer that reads a question and a sentence together and says whether it answers."""
