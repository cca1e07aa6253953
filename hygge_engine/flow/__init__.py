"""One entity run from home to store, in resumable slices."""
