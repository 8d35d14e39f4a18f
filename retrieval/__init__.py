"""Documents in, passages out: readers, passages, BM25 and FAISS over a SQLite store."""
