"""Lightning callbacks: the schedules, and what listens to them."""
