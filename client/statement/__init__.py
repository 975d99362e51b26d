"""What a study promises a hospital's patients, in plain words with every number computed: the privacy statement."""
