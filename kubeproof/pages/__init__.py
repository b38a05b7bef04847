"""The report as a page: one file of HTML that shows a cluster's network, and what a proof found of it.

The page needs neither scripts nor anything else from anywhere, and its policy for contents (CSP) forbids both.
"""
