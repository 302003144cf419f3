"""gunicorn --config examples/gunicorn_redis/gunicorn.conf.py"""

wsgi_app = "examples.gunicorn_redis.app:app"
workers = 4
threads = 4
worker_class = "gthread"
preload_app = True  # Stores open on first use, so each worker has connections of its own.
