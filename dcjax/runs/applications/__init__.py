"""Applications of condensed sets: drivers over `dcjax.applications`."""
