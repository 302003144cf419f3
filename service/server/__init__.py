"""``python app.py``: the server."""
