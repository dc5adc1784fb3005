"""From raw data to a champion: ingest, train, judge, register, schedule, watch."""
