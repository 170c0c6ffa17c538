"""The library in the network: stores, pulls from above, and answers to devices and to OCI clients."""
