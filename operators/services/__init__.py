"""What both operators use: keys and certificates, ledger, the start of an etcd member. Calls ports, decides by domain."""
