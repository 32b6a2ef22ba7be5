"""Who trains a job's runs: processes here, or the nodes of a Ray cluster."""
