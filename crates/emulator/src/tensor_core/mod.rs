//! Matrix instructions as plain functions: fragments, descriptors, layouts, and how each family adds up.
