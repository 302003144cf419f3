"""What differs between the servers of the ``database`` store, a module each."""
