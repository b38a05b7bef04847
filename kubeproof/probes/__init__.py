"""Requests that are really sent to a cluster."""
