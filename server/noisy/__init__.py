"""Open studies with differential privacy: the coordinator sees each site's update, and nothing else of a site."""
