"""What needs Keras: imported by the hooks, never by a listing."""
