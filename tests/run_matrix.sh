#!/usr/bin/env bash
# The tests in new environments: the newest JAX for Python 3.11, what Colab's TPU image has, the newest JAX.
#
#   tests/run_matrix.sh [--smoke] [PYTEST ARGUMENTS]     for example: tests/run_matrix.sh -x tests/ops
#
# --smoke: the tests marked `smoke` alone, in the latter two; .ci/run has run everything in the first.
# PY311, PY312 and PY313 name the interpreters where they are neither on the path nor pyenv's. An environment whose
# interpreter is not found is left out, which is said.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environments=(jax-0.10 colab-tpu jax-0.12)
if [[ ${1:-} == --smoke ]]; then
    shift
    environments=(colab-tpu jax-0.12)
    set -- -m smoke "$@"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu} PIP_DISABLE_PIP_VERSION_CHECK=1

declare -A version=([jax-0.10]=3.11 [colab-tpu]=3.12 [jax-0.12]=3.13)
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

interpreter() { # 3.12 -> a Python that starts, or nothing
    local named="PY${1/./}" candidate
    for candidate in "${!named:-}" "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if [[ -n $candidate ]] && "$candidate" -c '' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

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

failed=() passed=()
for name in "${environments[@]}"; do
    python=$(interpreter "${version[$name]}")
    if [[ -z $python ]]; then
        echo "== $name is left out: no Python ${version[$name]} was found (PY${version[$name]/./} may name one)"
    elif run "$name" "$python" "$@"; then
        passed+=("$name")
    else
        failed+=("$name")
    fi
done

if ((${#failed[@]})); then
    echo "failed: ${failed[*]}"
    exit 1
fi
echo "passed: ${passed[*]:-nothing, as no interpreter was found}"
