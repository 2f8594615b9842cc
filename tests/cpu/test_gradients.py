from __future__ import annotations

import os
import subprocess
import sys

from tests.cpu.test_host_memory import ROOT

SCRIPT = """
import re
from jaxcxr import parallel
parallel._set_xla_flags()
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxcxr.cpu import depthwise
from jaxcxr.models import layers

class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        norm = layers.batch_norm(train=True, axis_name=None)
        x = nn.relu6(norm(name="0")(layers.Conv(8, 1, name="expand")(x)))
        return norm(name="1")(layers.Conv(8, 3, padding=1, groups=8, name="depthwise")(x))

block, x = Block(), jnp.ones((8, 14, 14, 8))
variables = block.init(jax.random.key(0), x)

def sums_of_nine():
    jax.clear_caches()
    def loss(params):
        out, _ = block.apply({**variables, "params": params}, x, mutable=["batch_stats"])
        return jnp.square(out).sum()
    program = jax.jit(jax.grad(loss)).lower(variables["params"]).compile().as_text()
    parts = program.split("\\n\\n")
    return sum(min(part.count(" multiply("), part.count(" slice(")) >= 8 for part in parts)

print(sums_of_nine())
depthwise.linear_once = lambda compute, *operands: compute(*operands)
print(sums_of_nine())
"""


def test_a_training_step_sums_depthwise_products_once():
    """Forwards and for the gradient by x, where XLA:CPU would do so for each user of either."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    with_it, without = map(int, done.stdout.split())
    assert with_it == 2
    assert without >= 2
