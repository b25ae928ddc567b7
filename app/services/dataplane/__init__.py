"""The way of a request: asyncio transports that carry out what the core decides."""
