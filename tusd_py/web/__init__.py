"""HTTP: the tus endpoint, the JSON API, the page, metrics and health. Decides nothing about uploads."""
