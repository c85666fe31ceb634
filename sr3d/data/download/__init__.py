"""The raw data sets from their publishers' servers: whole files or none, resumed where cut."""
