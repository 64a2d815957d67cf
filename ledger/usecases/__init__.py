"""What people do with the ledger, each as one request decided under the lock."""
