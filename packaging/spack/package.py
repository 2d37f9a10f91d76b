"""Sundog for Spack: put this file into packages/sundog of a repository of packages."""

from spack.package import *


class Sundog(PythonPackage):
    """Unprivileged containers for HPC: build, pull, push and run images."""

    homepage = "https://example.org/sundog"
    pypi = "sundog/sundog-1.0.0.tar.gz"
    git = "https://example.org/sundog.git"

    license("Apache-2.0")

    version("main", branch="main")

    variant("fast", default=True, description="Decompress faster, by isal")

    depends_on("c", type="build")
    depends_on("python@3.11:", type=("build", "run"))
    depends_on("py-hatchling@1.24:", type="build")
    depends_on("py-backports-zstd@1:", when="^python@:3.13", type="run")
    depends_on("py-isal@1.7:", when="+fast", type="run")
    depends_on("py-pyyaml@6:", type="run")
    depends_on("py-rich@13:", type="run")
    depends_on("py-urllib3@2:", type="run")
