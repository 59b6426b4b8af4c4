"""The upload page at ``/``: its files, languages, colours and what it says about accepted files before an upload."""
