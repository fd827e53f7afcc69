set positional-arguments

# The real programs that the tests use: see `just tools`.
export PATH := justfile_directory() / ".tools/bin:" + env("PATH")

# list the recipes
default:
    @just --list --unsorted

# the whole mesh on this machine, with a first order: just demo --orders 100
demo *arguments:
    uv run jetmesh demo "$@"

# orders at a steady rate on a running demo, and how long each step took: just load --rate 100 --seconds 60
load *arguments:
    uv run jetmesh load "$@"

# figures beside the peers', all or a part: just bench hop|newer-python|go|mesh|one-process|latency|shared-core|overload|memory|stored|hot-article|failing|footprint|replicas|console|shop|chat
bench *arguments: tools
    uv run --group bench --group test python -m benchmarks "$@"

# the mesh under load while every kind of fault strikes, then an audit: just chaos --seed 1 --orders 2000 --cluster
chaos *arguments:
    uv run --group test python -m tests.chaos "$@"

# all tests, or some, a file at a time on each processor: just test tests/runtime -k guard
test *arguments: tools bytecode
    uv run --group test pytest --numprocesses=auto --dist=loadfile "$@"

# The tests start many hundreds of processes; a machine that keeps no bytecode (PYTHONDONTWRITEBYTECODE) would compile at each start.
[private]
bytecode:
    -uv run --group test python -m compileall -q -j 0 .venv contracts jetmesh services tests

# the chart on a real control plane, dashboards and alerts on a real Prometheus (their first build takes 20 minutes)
test-operations *arguments: (tools "nats" "jaeger" "helm" "kube" "prometheus")
    uv run --group test pytest tests/deploy tests/observability "$@"

# formatting, lint, types, import contracts, declared dependencies, event contracts
lint:
    uv run --group lint ruff format --check
    uv run --group lint ruff check
    uv run --group lint --group test --group bench mypy
    uv run --group lint lint-imports
    uv run --group lint deptry jetmesh
    uv run --group lint deptry --config contracts/pyproject.toml contracts/jetmesh_contracts
    uv run --group lint deptry --config services/pyproject.toml services/jetmesh_shop
    uv run --all-groups deptry --ignore DEP002,DEP004 --exclude '\.venv' benchmarks tests tools
    uv run jetmesh contracts lint
    uv run jetmesh contracts check
    uv run python -m tools.generate --check
    uv run --no-project tools/vendor.py --check

# the next version of everything, the release of its contracts, and what is generated from both: just release 0.2.0
release version:
    uv version --frozen "$1"
    uv version --frozen --package jetmesh-contracts "$1"
    uv version --frozen --package jetmesh-shop "$1"
    uv run jetmesh contracts release
    just generate

# everything that follows from the code: schemas, tables, the chart's values and renders, dashboards
generate *arguments:
    uv run python -m tools.generate "$@"

# mend formatting and lint where a machine can
format:
    uv run --group lint ruff check --fix
    uv run --group lint ruff format

# what CI checks: lint and all tests
check: lint test

# pictures of the pages for README and docs, of a demo that runs: just screenshots http://127.0.0.1:8000 http://127.0.0.1:8088/mesh
screenshots *arguments:
    uv run --group test python -m tools.screenshots "$@"

# what pages load in a browser, from npm into the tree, as tools/vendor.py names it
vendor:
    uv run --no-project tools/vendor.py

# the real nats, jaeger and oauth2-proxy into .tools/bin; also by name: helm kubeconform prometheus kube chromium jnats watermill
tools *names:
    @uv run --no-project tools/build.py "$@"

# the newest version of everything, pinned in pyproject.toml
pin:
    uv run --no-project tools/pin.py

# a real Kubernetes control plane on loopback, up or down: just tools helm kube && just cluster up
cluster verb *folder:
    @uv run --no-project tools/cluster.py "$@"
