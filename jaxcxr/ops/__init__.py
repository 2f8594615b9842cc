"""Pure functions on single images; they jit, and `jax.vmap` makes them batched."""
