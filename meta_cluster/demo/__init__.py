"""`make demo`: a whole fleet on this machine, then broken on purpose and healed, with the times. Uses the lab, `kok meta install` and kubectl as a person would."""
