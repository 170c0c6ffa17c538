"""The northbound: CAMARA Quality-On-Demand and QoS Profiles, and an endpoint of our own for downloads (docs/northbound.md)."""
