"""Everything with gradients."""
