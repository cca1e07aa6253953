"""The few file-system operations that stores, homes and the journal share: data lake (Azure SDK) and local
directory."""
