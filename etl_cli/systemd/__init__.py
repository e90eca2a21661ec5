"""A pipeline as a systemd service: the unit's text, the one caller of systemctl, the one caller of journalctl."""
