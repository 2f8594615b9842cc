#!/usr/bin/env bash
# The tests in three new environments: the newest JAX for Python 3.11, what Colab's TPU image has, the newest JAX.
# Arguments go to pytest: tests/run_matrix.sh -x tests/ops
# PY311, PY312 and PY313 name the interpreters where they are not python3.11, python3.12 and python3.13.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu} PIP_DISABLE_PIP_VERSION_CHECK=1

cat >"$work/jax-0.10.txt" <<'PINS'
jax==0.10.2
PINS
cat >"$work/colab-tpu.txt" <<'PINS'
jax==0.7.2
flax==0.11.2
optax==0.2.8
orbax-checkpoint==0.12.4
grain==0.2.18
chex==0.1.90
tensorflow-datasets==4.9.10
numpy==2.1.3
PINS
cat >"$work/jax-0.12.txt" <<'PINS'
jax>=0.12
PINS

run() { # name interpreter pytest-arguments...
    local name=$1 python=$2
    shift 2
    echo "== $name, $("$python" --version)"
    local files=(-r requirements.txt -r requirements-test.txt -c "$work/$name.txt")
    if command -v uv >/dev/null; then
        uv venv --quiet --python "$python" "$work/$name" &&
            uv pip install --quiet --python "$work/$name/bin/python" "${files[@]}"
    else
        "$python" -m venv "$work/$name" &&
            "$work/$name/bin/python" -m pip install --quiet --progress-bar off "${files[@]}"
    fi && "$work/$name/bin/python" -m pytest -q "$@" </dev/null
}

failed=()
run jax-0.10 "${PY311:-python3.11}" "$@" || failed+=(jax-0.10)
run colab-tpu "${PY312:-python3.12}" "$@" || failed+=(colab-tpu)
run jax-0.12 "${PY313:-python3.13}" "$@" || failed+=(jax-0.12)

if ((${#failed[@]})); then
    echo "failed: ${failed[*]}"
    exit 1
fi
echo "passed in all three environments"
