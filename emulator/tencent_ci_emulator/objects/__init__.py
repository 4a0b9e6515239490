"""Buckets and objects: the calls of COS, and the data folder."""
