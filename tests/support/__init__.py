"""What tests stand on: certificates, origin servers and processes of their own, all on loopback."""
