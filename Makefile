# The two commands of the README, `make demo` and `make test`, set up all that they need.
PYTHON := /usr/bin/python3
APT := mininet openvswitch-switch iproute2 iputils-ping psmisc iptables vlan ethtool tcpdump iperf3 curl gcc libc6-dev make flex bison bc patch xz-utils python3-venv util-linux skopeo docker-registry nginx-light qemu-user chromium
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
STAMP := .venv/set-up-$(shell cat pyproject.toml constraints.txt | sha256sum | cut -c1-16)

.PHONY: demo test lint setup ryu benchmark record fidelity library-table studies

demo: setup
	.venv/bin/insitu vm build
	.venv/bin/insitu run scenarios/campus.yaml --seed 7

test: setup lint ryu
	.venv/bin/insitu vm build
	.venv/bin/python -m pytest -n 2 --dist loadfile -m 'not alone'
	.venv/bin/python -m pytest -m alone

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# After a change of code: the digest of hello.yaml that `insitu verify` compares with
record: setup
	.venv/bin/python -m insitu.verify

benchmark: setup
	.venv/bin/python benchmarks/campus.py

fidelity: setup
	.venv/bin/insitu vm build
	.venv/bin/python -m benchmarks.fidelity

# The studies that ship, studies/*/README.md: all of them, or one, as in `make study-slicing`
studies: setup
	.venv/bin/insitu vm build
	.venv/bin/python -m studies

study-%: setup
	.venv/bin/insitu vm build
	.venv/bin/python -m studies $*

# docs/library.md: the models that ship beside separately quantised ones and NNCodec
library-table: setup
	.venv/bin/python -m benchmarks.library

# Ryu 4.34 for `controller: ryu`, in an environment of its own in the cache; prints where its programs are
ryu: setup
	@.venv/bin/python -m insitu.ryu_environment

setup: $(STAMP)

# Debian's Mininet lives in the system Python's packages, so the environment is made from that interpreter and sees them.
$(STAMP): pyproject.toml constraints.txt
	@missing=$$(for p in $(APT); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "Installing Debian packages:" $$missing; \
		$(SUDO) apt-get update -q && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi
	@echo "Making .venv: PyTorch and the other Python packages"
	$(PYTHON) -m venv --system-site-packages .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	@# Compiled under the name that it has in the guest: modules know their file's name, and a run must not depend on where this is
	.venv/bin/python -m compileall -q -f -j 2 -x py312_intrinsics -s "$(CURDIR)/.venv" -p /run/python "$(CURDIR)/.venv/lib"
	@rm -f .venv/set-up-*
	@touch $@
