"""What a plan draws at random, from the run's seed: adding an entity leaves the draws of the others. Pure."""

import hashlib

import numpy as np

RETRIES = 3


def generator(seed: int, purpose: str, entity: str) -> np.random.Generator:
    """Random numbers for one purpose of one entity, from its name alone."""
    key = hashlib.sha256(f"{purpose}/{entity}".encode()).digest()
    words = tuple(int.from_bytes(key[i : i + 4], "big") for i in range(0, 16, 4))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=words)))


def pauses(seed: int, entity: str, first: int) -> list[int]:
    """How long to wait before trying again, each time up to twice as long, from 1 ns on: exponential back-off with full jitter."""
    random = generator(seed, "retries", entity)
    return [int(random.integers(1, first << number, endpoint=True)) for number in range(RETRIES)]
