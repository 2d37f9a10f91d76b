# Everything starts here; scripts/ does the work. As root: packages are installed with apt-get, an
# ordinary user is made, and all that Sundog does runs as that user. As a user: nothing is changed
# but files of yours.

PYTHON := $(firstword $(wildcard /usr/bin/python3) python3)
RUN := $(PYTHON) -B -m

.PHONY: help demo test lint bench

help:
	@echo 'make demo    build Dockerfiles that need root as an ordinary user, and run the results'
	@echo 'make test    lint, and run the tests (ARGS="tests/kernel -x" for some of them)'
	@echo 'make lint    lint only'
	@echo 'make bench   measure Sundog beside its peers, and write docs/benchmarks.md (root)'

demo:
	@$(RUN) scripts.demo

test:
	@$(RUN) scripts.check -- $(ARGS)

lint:
	@$(RUN) scripts.check --lint

bench:
	@$(RUN) bench
