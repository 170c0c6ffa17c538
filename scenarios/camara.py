"""How CAMARA says a rate, and how long it lets a session last."""

LONGEST_SESSION = 24 * 3600 * 10**9  # ns
CAMARA_UNITS = {"bps": 1, "kbps": 10**3, "Mbps": 10**6, "Gbps": 10**9, "Tbps": 10**12}
MOST_OF_A_UNIT = 1024  # in CAMARA's Rate


def camara_rate(rate: int) -> tuple[int, str] | None:
    """A rate in bit/s as CAMARA's Rate says it: a whole number up to 1024 and its unit; None where it cannot."""
    units = ((rate // factor, unit) for unit, factor in CAMARA_UNITS.items() if rate % factor == 0)
    return next((said for said in units if said[0] <= MOST_OF_A_UNIT), None)
