"""The COVID-19 X-rays that COVID-CXNet collected (armiro/COVID-CXNet)."""
