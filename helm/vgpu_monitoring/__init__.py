"""Dashboards and alerts as code: written into the chart by ``make generate``, held to the metrics that exist.

    catalogue    every metric of every process, as it is exported
    dashboards   three pages for Grafana
    alerts       the rules for Prometheus, and what whoever is woken should do

Nothing here runs in a cluster.
"""
