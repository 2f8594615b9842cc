"""The promises, by what fails."""
