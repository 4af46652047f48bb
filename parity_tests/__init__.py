"""Proofs that lightning_tl and keras_ref are one recipe, claim by claim, on every Keras backend."""
