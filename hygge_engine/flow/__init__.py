"""One entity's journey from home to store, in resumable slices."""
