"""The recipe in Keras 3, to be read beside ``lightning_tl`` file by file.

It imports neither ``lightning_tl`` nor torch. Choose the backend with ``keras_ref.backend.select_backend()``
before importing a module that imports keras; ``python -m keras_ref`` does so.
"""
