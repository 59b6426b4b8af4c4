"""One class a contract, which every backend of it inherits."""
