//! Runs compiled models: cuda through the driver, cpu everywhere.
