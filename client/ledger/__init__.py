"""The privacy ledger: what every study run costs the hospital's patients, kept by the hospital."""
