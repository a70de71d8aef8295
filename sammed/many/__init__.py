"""One job over many scans: on this computer or a cluster, resumable, each scan by itself."""
