//! Edge: inventory file, pod processes and network namespaces, turned into identity changes.
