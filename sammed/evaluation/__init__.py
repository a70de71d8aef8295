"""Evaluation: manifests of cases, protocols, a resumable cohort run, statistics and a report."""
