"""/openapi.json: what every API view says of itself, put together."""
