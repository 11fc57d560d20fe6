"""Camera implementations. Each passes the contract suite in tests/contract/test_camera.py."""
