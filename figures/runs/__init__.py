"""`python -m figures runs`: what recorded runs can show, as pictures and tables."""
