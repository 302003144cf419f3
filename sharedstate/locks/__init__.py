"""Locks with a lease, and the order in which waiters get one."""
