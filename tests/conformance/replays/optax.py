"""Rates out of the optax module: traced with the count, and the rule asked on the host."""

from tests.conformance.replays.torch import load_module


def replay(text, schedule, steps):
    import jax
    import jax.numpy as jnp

    rates = load_module(text)["schedule"]
    return jax.jit(rates)(jnp.arange(steps)).tolist()


def react(text, document, values):
    plateau = load_module(text)["Plateau"]()
    return [plateau.step(value) for value in values]
