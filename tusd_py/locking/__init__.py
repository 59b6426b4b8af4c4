"""Lockers: backends of the locker contract, within a process and between the processes of one host."""
