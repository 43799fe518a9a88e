"""Who may do something dangerous, and when: pure decisions of the risk centre and of those who ask it. No I/O, no clock, no client."""
