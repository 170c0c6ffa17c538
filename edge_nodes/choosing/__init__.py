"""Which variant a device gets, and in which order its blocks leave. Pure."""
