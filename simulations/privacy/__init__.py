"""What people see of a promise to patients: what it cost, the privacy statement, curves of quality against epsilon."""
