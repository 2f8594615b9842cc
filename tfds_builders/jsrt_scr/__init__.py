"""The JSRT chest X-rays with the SCR masks of lungs, heart and clavicles."""
