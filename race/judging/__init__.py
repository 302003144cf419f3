"""Histories, checkers and the verdict."""
