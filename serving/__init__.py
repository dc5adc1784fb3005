"""Answers forecasts over HTTP: a thin BentoML shell around an ASGI application."""
