"""Explanations of a classifier: saliency maps and measures of them.

Pure functions of a network and images.
"""
