//! Edge: load the probes, attach them to pod interfaces, read their ring buffer, map the kernel's clock to wall time.
