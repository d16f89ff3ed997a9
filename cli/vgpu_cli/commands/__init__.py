"""One command per file: it reads, calls one function that makes the answer, and writes that."""
