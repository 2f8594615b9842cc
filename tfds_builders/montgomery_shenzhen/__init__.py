"""The Montgomery and Shenzhen tuberculosis X-rays with lung masks."""
