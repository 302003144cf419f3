"""The proof under faults: what is promised holds while clients and servers fail."""
