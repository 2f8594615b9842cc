"""The COVID-19 image data collection of Cohen et al. (ieee8023/covid-chestxray-dataset)."""
