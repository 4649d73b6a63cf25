"""The cluster and the DAG: plans, launches and traces. Knows nothing of losses."""
