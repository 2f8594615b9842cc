"""CheXNet as it is: from its findings' probabilities to a score of pneumonia, without fine-tuning.

COVID-CXNet's paper (4.2) proposes "a combination of CheXNet output neurons" and does not say which;
its published code reads the neuron "Pneumonia" alone. That is the default here, and the only score
that needs no choice. What each combination of several findings means, for probabilities p_1 ... p_k
of findings that may occur together:

"max": the largest p_i, a lower bound of the probability of at least one of them, whatever their
dependence. "mean": (p_1 + ... + p_k) / k, the expected fraction of these findings that is present,
whatever their dependence. "any": 1 - (1 - p_1) ... (1 - p_k), the probability of at least one of
them if they were independent. They are not
  (figure 7, after Wang et al., arXiv:1705.02315), so this is too high where they occur together.

None of them is a probability of COVID-19: CheXNet has not seen any, and "Infiltration" is high in
most images (5.2). They rank images; a threshold has to come from validation images.
"""

from __future__ import annotations

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxcxr.errors import InputError

COMBINATIONS = ("max", "mean", "any")


def pneumonia_score(
    probabilities: jax.Array | np.ndarray,
    labels: Sequence[str],
    *,
    findings: Sequence[str] = ("Pneumonia",),
    combination: str = "max",
) -> jax.Array:
    """A pneumonia score from the probabilities of several findings; of one, its probability.

    Args:
        probabilities: [..., C] in [0, 1], the sigmoids of the network's logits.
        labels: C names, `Entry.labels` of the weights (`catalog.CHESTXRAY14` for CheXNet).
        findings: names of the findings to combine, a subset of `labels`.
        combination: "max", "mean" or "any", see above.

    Returns:
        [...] float32 in [0, 1].

    Raises:
        InputError: an unknown finding or combination, or no finding.
    """
    chex.assert_axis_dimension(probabilities, -1, len(labels))
    if combination not in COMBINATIONS:
        raise InputError(
            f"combination={combination!r} is unknown; known: {', '.join(COMBINATIONS)}"
        )
    unknown = [name for name in findings if name not in labels]
    if unknown or not findings:
        raise InputError(f"findings={tuple(findings)!r}: choose some of {', '.join(labels)}")
    columns = np.asarray([labels.index(name) for name in dict.fromkeys(findings)])
    chosen = jnp.asarray(probabilities, jnp.float32)[..., columns]
    if combination == "max":
        return chosen.max(axis=-1)
    if combination == "mean":
        return chosen.mean(axis=-1)
    return -jnp.expm1(jnp.log1p(-chosen).sum(axis=-1))
