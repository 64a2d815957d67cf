"""What `status` shows and `doctor` finds wrong or risky, each with its mending."""
