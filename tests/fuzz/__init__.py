"""Hostile input of every kind: nothing but the typed errors comes of it, soon, and in bounded memory.

``make test`` tries the same few inputs each time, ``make fuzz`` other ones and a hundred times as many, and
``make fuzz FUZZ=500`` a thousand times as many.
"""
