# Everything starts here; scripts/ does the work. If root runs it, it installs packages with apt-get,
# creates an ordinary user, and runs Sundog as that user. If an ordinary user runs it, it changes only
# files of that user.

PYTHON := $(firstword $(wildcard /usr/bin/python3) python3)
RUN := $(PYTHON) -B -m

.PHONY: help demo test lint docs wheels offline packages fuzz kills interruptions cluster pyxis flux openpbs callers vm-test bench conformance \
    configurations fidelity fidelity-more fidelity-programs agent architectures buildkit stargz python

help:
	@echo 'make demo    build Dockerfiles that need root as an ordinary user, and run the results'
	@echo 'make test    lint, and run the tests (ARGS="tests/base/kernel -x": those alone, on one Python)'
	@echo '             (MATRICES=1: all combinations of what tests cross, as CI does, not only diagonals)'
	@echo 'make lint    lint only'
	@echo 'make docs    make a site of the documentation in site/, and check its links'
	@echo 'make wheels  build the wheels of a release in dist/: one for each machine, and a pure one'
	@echo 'make offline write an archive of wheels for machines without a network into dist/'
	@echo 'make packages  build a .deb and an .rpm in containers, into dist/; check, try, upgrade and remove them'
	@echo 'make fuzz    throw random system calls at the supervisor of notify, and mutated archives,'
	@echo '             documents and SquashFS files at what reads them, for 10 minutes (ARGS="--seconds N --seed N")'
	@echo 'make configurations  read 1,000 random configurations, and 2,000 records with mistakes in Python and in C'
	@echo 'make kills   kill 100 pulls, pushes, loads, builds and changes of a store, and 200 times a build'
	@echo '             of stages or one of its processes, and cut the power 60 times, at random moments, and'
	@echo '             look at what is left; kill one of three nodes that share a store'
	@echo 'make interruptions   interrupt each command at 200 moments, close its pipe after 0 to 200 bytes'
	@echo 'make cluster use one storage directory from two machines, over NFS 3 and 4.2; start MPI under Slurm'
	@echo '             while the registry of its image is down for 60 s (root)'
	@echo 'make pyxis PYXIS=DIR ENROOT=DIR    run jobs with the real plug-in pyxis of Slurm and Enroot,'
	@echo '             built from their sources in these directories (root)'
	@echo 'make flux FLUX=DIR    run jobs with the Flux that is installed in DIR'
	@echo 'make openpbs OPENPBS=DIR    run jobs with the OpenPBS that is installed in DIR, on two nodes (root)'
	@echo 'make callers run workflow engines and other programs that call Apptainer, from PyPI, with Sundog;'
	@echo '             build by debootstrap, dnf, zypper and pacman; start 64 ranks at once'
	@echo 'make architectures   configure and use Debian for arm64 and riscv64, which QEMU runs'
	@echo 'make buildkit   let BuildKit read indexes, entries of a shared cache and trees, and build beside'
	@echo '             Sundog, in a Docker daemon that is started for it (root)'
	@echo 'make stargz  start images that ctr-remote made, and read those that Sundog pushed with the stargz'
	@echo '             snapshotter, in a containerd that is started for it (root)'
	@echo 'make vm-test ARCH=aarch64    root emulation on another architecture, in a virtual machine:'
	@echo '             aarch64, s390x, ppc64le or riscv64 (root)'
	@echo 'make bench   measure Sundog beside its peers, and write docs/reference/benchmarks.md (root)'
	@echo '             (ARGS=--growth: print how costs grow up to 10,000 images, 1,000,000 files and 4 GB;'
	@echo '             ARGS=--lazy: print what starts of images cost that are still in a registry)'
	@echo 'make conformance    build whole Dockerfiles, run the results, compare with buildah (root)'
	@echo 'make fidelity       install packages as real root and under root emulation, and compare (root)'
	@echo 'make fidelity-more  the same with more packages'
	@echo 'make agent          the same in containers of crun, runc and podman, under `sundog agent` (root)'
	@echo 'make fidelity-programs  run scripts as real root and under root emulation, compare what they'
	@echo '             print and make, and write docs/reference/programs.md (root; ARGS=--long for more)'

demo: python
	@$(RUN) scripts.demo

test: python
	@$(RUN) scripts.check $(if $(MATRICES),--matrices=$(MATRICES)) -- $(ARGS)

lint: python
	@$(RUN) scripts.check --lint

docs: python
	@$(RUN) scripts.site

wheels: python
	@$(RUN) scripts.wheels

offline: python
	@$(RUN) scripts.distributions

packages: python
	@$(RUN) scripts.check --packages -- -s -n0 --timeout=3600 tests/packages $(ARGS)

fuzz: python
	@$(RUN) scripts.fuzz $(ARGS)

configurations: python
	@SUNDOG_CONFIGURATIONS=1000 SUNDOG_RECORDS=2000 $(RUN) scripts.check -- tests/base/configuration \
	    tests/runtime/native/test_parsing.py -k 'configuration' $(ARGS)

kills: python
	@SUNDOG_KILLS=100 SUNDOG_STAGE_KILLS=200 SUNDOG_CUTS=60 SUNDOG_NODE_ROUNDS=8 $(RUN) scripts.check -- -s \
	    tests/image/pull/test_kills.py tests/image/registry/test_kills.py \
	    tests/image/registry/test_lazy_images.py tests/image/store/test_kills.py \
	    tests/image/store/test_power_cuts.py tests/image/builder/test_failures.py \
	    tests/image/builder/test_notify_changes.py tests/image/builder/test_together.py tests/image/builder/test_jobs.py \
	    tests/image/shared_store/test_two_nodes.py -k 'kill or cut' $(ARGS)

interruptions: python
	@SUNDOG_TRIES=200 $(RUN) scripts.check -- tests/image/registry/test_interruption.py \
	    tests/front/cli/test_closed_pipes.py $(ARGS)

cluster: python
	@SUNDOG_OUTAGE=60 $(RUN) scripts.check --machines -- -n0 --timeout=3600 tests/nfs \
	    tests/cluster/test_lazy.py $(ARGS)

pyxis: python
	@$(RUN) scripts.check --pyxis "$(PYXIS)" "$(ENROOT)" -- -n0 tests/cluster/test_pyxis.py $(ARGS)

flux: python
	@$(RUN) scripts.check --flux "$(FLUX)" -- -n0 tests/cluster/test_flux.py $(ARGS)

openpbs: python
	@$(RUN) scripts.check --openpbs "$(OPENPBS)" -- -n0 tests/cluster/test_openpbs.py $(ARGS)

callers: python
	@SUNDOG_RANKS=64 $(RUN) scripts.check --callers -- -n0 --timeout=900 tests/callers/engines \
	    tests/front/cli/test_sundog_apptainer.py::test_ranks_that_begin_at_once_pull_once \
	    tests/front/cli/test_sundog_apptainer.py::test_ranks_of_a_sif $(ARGS)

architectures: python
	@SUNDOG_ARCHITECTURES=1 $(RUN) scripts.check -- -s -n0 --timeout=7200 tests/architectures $(ARGS)

buildkit: python
	@$(RUN) scripts.check --buildkit -- -n0 --timeout=900 tests/buildkit $(ARGS)

stargz: python
	@$(RUN) scripts.check --stargz -- -n0 --timeout=900 tests/stargz $(ARGS)

# -s: it shows what the machine is, and how long it took to start.
vm-test: python
	@$(RUN) scripts.check --machine $(or $(ARCH),aarch64) -- -s -n0 --timeout=3600 tests/machines $(ARGS)

bench: python
	@$(RUN) bench $(ARGS)

conformance: python
	@$(RUN) scripts.conformance $(ARGS)

fidelity: python
	@$(RUN) scripts.fidelity

fidelity-more: python
	@$(RUN) scripts.fidelity --more

agent: python
	@$(RUN) scripts.fidelity.agent $(ARGS)

fidelity-programs: python
	@$(RUN) scripts.programs $(ARGS)

# A minimal Debian has no Python.
python:
	@command -v $(PYTHON) >/dev/null || \
	    { test "$$(id -u)" = 0 && apt-get -qq update && \
	      DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3 >/dev/null; } || \
	    { echo 'no Python here; as root: apt-get install -y --no-install-recommends python3'; exit 1; }
