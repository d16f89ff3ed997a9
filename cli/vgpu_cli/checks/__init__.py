"""Is the platform whole? Each step looks at one thing and says what it found and, at a fault, the remedy.

A step reads; none repairs. What an identity may not read is said to be skipped, never taken for sound.
"""
