"""Files of other stores of credentials, read so that what they hold can be imported."""
