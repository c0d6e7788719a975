//! Machines, their roofs, and what a cost can reach on them.
