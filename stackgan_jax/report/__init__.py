"""The page that shows what a run learnt, and the page that compares runs."""
