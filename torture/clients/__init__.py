"""What asks the store: processes with threads, each of which does one operation after another."""
