"""Predicting any number of images: paths are streamed, results written in chunks, an interrupted run continued."""
