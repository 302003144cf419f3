"""Leases, and the fair way of those who wait for the same."""
