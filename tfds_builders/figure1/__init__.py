"""The Figure 1 COVID-19 chest X-rays (agchung/Figure1-COVID-chestxray-dataset)."""
