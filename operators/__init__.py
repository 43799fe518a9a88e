"""The two operators of kok and what they share; the floors of the house are described in docs/architecture.md."""
