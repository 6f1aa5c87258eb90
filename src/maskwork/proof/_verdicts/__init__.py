"""What an audit says: outcomes, causes, reports, pictures."""
