"""The servers that applications are raced under, and the programs beside them."""
