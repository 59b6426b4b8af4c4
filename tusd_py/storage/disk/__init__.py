"""The store on a local disk: one file for each upload."""
