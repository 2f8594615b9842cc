"""The Actualmed COVID-19 chest X-ray data set (agchung/Actualmed-COVID-chestxray-dataset)."""
