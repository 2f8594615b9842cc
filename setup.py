"""The packages of an installation; everything else about it is in pyproject.toml.

`configs` and `tfds_builders` go inside `jaxcxr`, as `jaxcxr/_configs` and `jaxcxr/_tfds_builders`:
site-packages then has one name of ours, and no other project's `configs` is overwritten.
jaxcxr/shipped.py finds them.
"""

from setuptools import find_packages, setup

packages = find_packages(include=["jaxcxr", "jaxcxr.*"])
package_dir = {}
for name in ("configs", "tfds_builders"):
    package_dir[f"jaxcxr._{name}"] = name
    inside = find_packages(include=[name, f"{name}.*"])
    packages += [f"jaxcxr._{package}" for package in inside]

setup(packages=packages, package_dir=package_dir)
