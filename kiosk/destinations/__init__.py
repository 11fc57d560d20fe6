"""Where sessions are delivered. Each passes the contract suite in tests/contract/test_destination.py."""
