"""The paediatric chest X-rays of Kermany et al. ("chest X-ray pneumonia")."""
