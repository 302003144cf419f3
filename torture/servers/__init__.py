"""The stores that are tortured, and the servers behind them."""
