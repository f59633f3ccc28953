"""`python -m figures compare`: theory against measurement on one page."""
