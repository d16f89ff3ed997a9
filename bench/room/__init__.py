"""What making room costs the operator: plans and explanations over a large, full cluster."""
