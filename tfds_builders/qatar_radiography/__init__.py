"""The COVID-19 Radiography Database of Qatar University and the University of Dhaka."""
