//! Stories' common ground.
