"""The steps that follow when every byte of an upload is stored."""
