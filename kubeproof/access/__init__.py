"""How this program reaches hosts and downloads: ssh, deadlines, host keys, files fetched and verified."""
