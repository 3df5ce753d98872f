"""Packages of the wheel: those below stackgan_jax/, and configs/ as stackgan_jax.configs."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["stackgan_jax", "stackgan_jax.*"]), "stackgan_jax.configs"],
    package_dir={"stackgan_jax.configs": "configs"},
)
