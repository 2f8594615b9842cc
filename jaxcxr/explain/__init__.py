"""Explanations of a classifier: heat maps and measures of them.

Pure functions of a network and images.
"""
