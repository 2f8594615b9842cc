"""The COVID-19 image repository of Hannover Medical School (ml-workgroup)."""
