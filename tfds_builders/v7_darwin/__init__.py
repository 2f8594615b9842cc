"""V7 Labs' COVID-19 chest X-ray annotations: lung masks and tags of ccx's and kcx's pictures."""
