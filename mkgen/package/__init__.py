"""Packages: a directory that holds everything a stranger needs to build, run and check a kernel."""

from mkgen.package.write import package_name, write_package

__all__ = ["package_name", "write_package"]
