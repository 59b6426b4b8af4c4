"""HTTP: the tus endpoint, the JSON API, the page, metrics and health. ``uploads`` makes the decisions."""
