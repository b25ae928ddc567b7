"""The pure core: decides and never acts. No clock, socket, logging, SQL or framework in here."""
