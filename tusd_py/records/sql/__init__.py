"""Records and jobs in a SQL database, through the tables of SQLModel."""
