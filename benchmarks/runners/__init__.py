"""The frameworks, each driven by a ``Runner(job)`` (``base.Base``) that only its own worker process imports."""
