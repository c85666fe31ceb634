"""TR3D. SR3D is this network, trained with another assigner and another loss."""
