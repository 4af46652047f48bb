"""Keras' side of the claims: functions from arrays and options to arrays, run in a process of their own."""
