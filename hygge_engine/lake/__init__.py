"""The few file-system verbs that stores, homes and the journal share: data lake (Azure SDK) and local directory."""
