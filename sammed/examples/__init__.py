"""One scan explains another: what is known of labelled scans, carried onto a new one."""
